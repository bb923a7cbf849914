//! The manual page of each subcommand: its names, options and examples come from the definitions above, by
//! clap_mangen; the rest is prose of `man/commands/`. The pages are committed, so that `make install` needs
//! no cargo. `make man` writes them, and the test compares.

use super::Arguments;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Set by `make man`: the pages are written, and not compared.
const WRITE: &str = "SESSCACHE_WRITE_PAGES";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../man")
}

fn commands() -> Vec<Command> {
    let mut all = Arguments::command().disable_help_subcommand(true);
    all.build();
    all.get_subcommands().cloned().collect()
}

/// The prose of a command: sections before and behind OPTIONS, and texts of options in it. Such a text
/// begins with a line `.\" --option`, or with the name of an argument in place of the option.
struct Prose {
    before: String,
    options: BTreeMap<String, String>,
    behind: String,
}

impl Prose {
    fn of(command: &Command) -> Prose {
        let file = folder().join("commands").join(command.get_name()).with_extension("roff");
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let (before, rest) = text.split_once(".SH OPTIONS\n").expect("a section OPTIONS");
        let (options, behind) = rest.split_at(rest.find(".SH ").unwrap_or(rest.len()));
        let options = options.split(".\\\" ").skip(1).map(|text| {
            let (name, text) = text.split_once('\n').expect("a text below the option's name");
            (name.to_owned(), text.to_owned())
        });
        Prose { before: before.to_owned(), options: options.collect(), behind: behind.to_owned() }
    }
}

fn name_of(argument: &clap::Arg) -> String {
    let value = || argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    argument.get_long().map_or_else(value, |long| format!("--{long}"))
}

fn render(to: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    to(&mut text).unwrap();
    // Each piece begins with what an apostrophe looks like, for programs older than its name.
    let text = String::from_utf8(text).unwrap().replace("\\*(Aq", "\\(aq");
    text.lines().filter(|line| !is_preamble(line)).map(|line| format!("{line}\n")).collect()
}

fn is_preamble(line: &str) -> bool {
    line.starts_with(".ie ") || line.starts_with(".el ")
}

/// The options, each with our prose where there is some, else with its help.
fn options(command: Command, prose: &Prose) -> String {
    let mut left = prose.options.clone();
    let mut texts = Vec::new();
    let command = command.mut_args(|argument| {
        // The values of the one argument that has some are in its description.
        let argument = argument.hide_possible_values(true);
        let Some(text) = left.remove(&name_of(&argument)) else { return argument };
        texts.push(text);
        argument.help(format!("@{}@", texts.len() - 1))
    });
    assert!(left.is_empty(), "no option has these names: {:?}", left.keys());
    let page = render(|to| Man::new(command).render_options_section(to));
    texts
        .iter()
        .enumerate()
        .fold(page, |page, (number, text)| page.replace(&format!("@{number}@\n"), text))
}

/// The examples of the command's help: lines that are indented, with the words before them.
fn examples(command: &Command) -> String {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut page = Roff::new();
    page.control("SH", ["EXAMPLES"]);
    for paragraph in help.split("\n\n").filter(|text| text.contains("\n  ")) {
        for run in
            paragraph.lines().collect::<Vec<_>>().chunk_by(|a, b| is_example(a) == is_example(b))
        {
            let is_examples = run.iter().all(|line| is_example(line));
            if is_examples {
                page.control("EX", []);
                run.iter().for_each(|line| _ = page.text([roman(*line)]));
                page.control("EE", []);
            } else if *run != ["Examples:"] {
                page.control("PP", []);
                page.text([roman(run.join(" "))]);
            }
        }
    }
    render(|to| page.to_writer(to))
}

fn is_example(line: &str) -> bool {
    line.starts_with("  ")
}

/// The first line of sesscache(1), which has date and version, with another title.
fn title(command: &Command) -> String {
    let main = fs::read_to_string(folder().join("sesscache.1")).unwrap();
    let line = main.lines().find(|line| line.starts_with(".TH ")).unwrap();
    let name = command.get_display_name().unwrap().to_uppercase().replace('-', "\\-");
    format!("{}\n", line.replacen("SESSCACHE", &name, 1))
}

fn page(command: &Command) -> String {
    let prose = Prose::of(command);
    let man = Man::new(command.clone());
    [
        format!(
            "'\\\" t\n.\\\" Made by `make man` of clap's definitions and man/commands/{}.roff.\n",
            command.get_name()
        ),
        title(command),
        render(|to| man.render_name_section(to)),
        prose.before.clone(),
        options(command.clone(), &prose),
        prose.behind.clone(),
        examples(command),
        ".SH SEE ALSO\n.BR sesscache (1),\n.BR sesscache (7)\n".to_owned(),
    ]
    .concat()
}

#[test]
fn each_command_has_its_page() {
    for command in commands() {
        let file = folder().join(format!("{}.1", command.get_display_name().unwrap()));
        if std::env::var_os(WRITE).is_some() {
            fs::write(&file, page(&command)).unwrap();
        }
        let is_same = fs::read_to_string(&file).is_ok_and(|found| found == page(&command));
        assert!(is_same, "{} is not as the command is: make man", file.display());
    }
}

#[test]
fn each_synopsis_has_the_options_and_no_others() {
    for command in commands() {
        let synopsis = Prose::of(&command).before.replace('\\', "");
        let (synopsis, _) = synopsis.split_once(".SH DESCRIPTION").unwrap();
        let fits = |c: char| c.is_ascii_lowercase() || c == '-';
        let words = synopsis.split(|c| !fits(c)).filter(|word| word.len() > 2);
        let mut found: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
        let long = command.get_arguments().filter_map(clap::Arg::get_long);
        let long: Vec<_> =
            long.filter(|name| *name != "help").map(|name| format!("--{name}")).collect();
        let mut long: Vec<_> = long.iter().map(String::as_str).collect();
        found.sort_unstable();
        long.sort_unstable();
        assert_eq!(found, long, "{}", command.get_name());
    }
}

#[test]
fn the_main_page_names_each_command() {
    let main = fs::read_to_string(folder().join("sesscache.1")).unwrap();
    for command in commands() {
        let name = command.get_display_name().unwrap().replace('-', "\\-");
        assert!(main.contains(&format!("\n.BR {name} (1)\n")), "{name}");
    }
}
