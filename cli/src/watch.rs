//! `sesscache stats --watch`: a store's figures, live, in 80 columns.
//!
//! A terminal gets a picture that is drawn again and again; another output a line each time.

use crate::connections;
use crate::output;
use crate::table::{Figures, grouped, part};
use sesscache_core::store::{Connections, Medium, OpenError, Store};
use std::collections::VecDeque;
use std::fmt::Write;
use std::io::{self, IsTerminal, stdout};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The looks that a plot shows.
const COLUMNS: usize = 60;
/// The widest line.
const WIDTH: usize = 80;
/// The longest bar.
const MOST_BAR: u64 = 48;
/// The marks of a plot, each an eighth higher.
const MARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A line above every so many, where no picture is drawn.
const LINES: usize = 20;
/// Clears a terminal, and goes to its first place.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The connections that ended between two looks.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    seconds: f64,
    all: u64,
    resumed: u64,
}

impl Step {
    fn share(&self) -> Option<f64> {
        part(self.resumed, self.all)
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate of three digits is made of it")]
    fn rate(&self) -> f64 {
        self.all as f64 / self.seconds.max(0.001)
    }
}

/// The last looks at a store.
#[derive(Debug, Default)]
struct History {
    /// The counts of each look, oldest first.
    counts: VecDeque<(Instant, Connections)>,
    steps: VecDeque<Step>,
}

impl History {
    fn add(&mut self, when: Instant, found: Connections) {
        if let Some((before, last)) = self.counts.back() {
            self.steps.push_back(Step {
                seconds: when.saturating_duration_since(*before).as_secs_f64(),
                all: found.all().saturating_sub(last.all()),
                resumed: found.all_resumed().saturating_sub(last.all_resumed()),
            });
        }
        self.counts.push_back((when, found));
        while self.steps.len() > COLUMNS {
            self.steps.pop_front();
            self.counts.pop_front();
        }
    }

    /// The steps as one.
    fn together(&self) -> Step {
        self.steps.iter().fold(Step::default(), |sum, step| Step {
            seconds: sum.seconds + step.seconds,
            all: sum.all + step.all,
            resumed: sum.resumed + step.resumed,
        })
    }

    /// The names of what happened meanwhile, and how often.
    fn happened(&self) -> Vec<(&'static str, u64)> {
        let (Some((_, first)), Some((_, last))) = (self.counts.front(), self.counts.back()) else {
            return Vec::new();
        };
        let rows = |found| connections::resumed(found).into_iter().chain(connections::full(found));
        let grown = rows(last)
            .zip(rows(first))
            .map(|((name, now, _), (_, before, _))| (name, now.saturating_sub(before)));
        grown.filter(|(_, count)| *count > 0).collect()
    }
}

/// The reasons why a store is watched no more.
#[derive(Debug)]
pub(crate) enum WatchError {
    /// The store cannot be opened.
    Store(OpenError),
    /// The text could not be written.
    Output(io::Error),
}

/// Shows the store until the process is ended, or the output is closed.
pub(crate) fn watch(path: &Path) -> Result<(), WatchError> {
    let open = |path: &Path| Store::open_existing(path).map_err(WatchError::Store);
    let medium = Medium::File(path.to_owned());
    let (mut store, mut history) = (open(path)?, History::default());
    let is_terminal = stdout().is_terminal();
    for line in 0.. {
        if !store.is_in_place(&medium) {
            (store, history) = (open(path)?, History::default());
        }
        let figures = Figures::of(&store);
        history.add(Instant::now(), figures.connections);
        let text = match is_terminal {
            true => format!("{CLEAR}{}", picture(path, &figures, &history)),
            false => self::line(line, &figures, &history),
        };
        output::print(&text).map_err(WatchError::Output)?;
        sleep(LOOK);
    }
    Ok(())
}

/// A line of figures, with their names above it now and then.
fn line(number: usize, figures: &Figures, history: &History) -> String {
    let step = history.steps.back().copied().unwrap_or_default();
    let names = format!(
        "{:>12} {:>10} {:>10} {:>12} {:>8}\n",
        "connections", "a second", "resumed %", "sessions", "fill %"
    );
    let names = if number.is_multiple_of(LINES) { names } else { String::new() };
    format!(
        "{names}{:>12} {:>10.1} {:>10} {:>12} {:>8}",
        figures.connections.all(),
        step.rate(),
        percent(step.share()),
        figures.counters.entries,
        percent(part(figures.counters.bytes, figures.counters.capacity)),
    )
}

/// The picture for a terminal.
fn picture(path: &Path, figures: &Figures, history: &History) -> String {
    let (counters, together) = (&figures.counters, history.together());
    let mut text = format!("{}\n\n", path.display());
    let rates: Vec<Option<f64>> = history.steps.iter().map(|step| Some(step.rate())).collect();
    let highest = rates.iter().flatten().copied().fold(1.0, f64::max);
    let shares: Vec<Option<f64>> = history.steps.iter().map(Step::share).collect();
    // Writing to a String cannot fail.
    let mut row = |name: &str, plot: &str, now: String| {
        let _ = writeln!(text, "{name:<9}{plot:<COLUMNS$} {now:>9}");
    };
    let last = history.steps.back().copied().unwrap_or_default();
    row("resumed", &plot(&shares, 1.0), format!("{} %", percent(last.share())));
    row("per s", &plot(&rates, highest), format!("{:.1}", last.rate()));
    let _ = writeln!(
        text,
        "\nlast {} s: {} connections, {} % resumed",
        history.steps.len(),
        grouped(together.all),
        percent(together.share()),
    );
    for (name, count) in history.happened() {
        let width = MOST_BAR * count / together.all.max(1);
        let bar = "█".repeat(usize::try_from(width).unwrap_or(0));
        let _ = writeln!(text, "  {name:<15}{:>12} {bar}", grouped(count));
    }
    let _ = writeln!(
        text,
        "\n{} sessions, {} % of the room; {} lookups found none, {} did not open",
        grouped(counters.entries),
        percent(part(counters.bytes, counters.capacity)),
        grouped(counters.misses),
        grouped(counters.undecryptable),
    );
    text.lines().map(|line| line.chars().take(WIDTH).collect::<String>() + "\n").collect()
}

/// A mark for each value; a space where there is none.
fn plot(values: &[Option<f64>], highest: f64) -> String {
    let mark = |value: &Option<f64>| {
        let Some(value) = value else { return ' ' };
        let part = (value / highest).clamp(0.0, 1.0);
        let mut ends = (1..=8).map(f64::from).zip(MARKS);
        ends.find(|(end, _)| part * 8.0 <= *end).map_or(' ', |(_, mark)| mark)
    };
    values.iter().map(mark).collect()
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1}", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::store::{Beginning, Cause, StoreUrl, Way};

    /// A store after so many seconds, in each of which ten connections ended.
    fn history(seconds: u64) -> (Figures, History) {
        let store = Store::open(&StoreUrl::parse("shm:?size=1MiB").unwrap()).unwrap();
        let (mut history, start) = (History::default(), Instant::now());
        for second in 0..=seconds {
            history.add(start + Duration::from_secs(second), store.connections());
            for number in 0..10 {
                store.count_connection(match number {
                    0..5 => Beginning::Resumed(Way::Store, 1),
                    _ => Beginning::Full(Cause::NoOffer),
                });
            }
        }
        (Figures::of(&store), history)
    }

    #[test]
    fn a_picture_fits_into_80_columns() {
        let (figures, history) = history(200);
        let long = format!("/{}", "x".repeat(200));
        let text = picture(Path::new(&long), &figures, &history);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().count() < 24, "{text}");
        assert!(text.contains("last 60 s: 600 connections, 50.0 % resumed"), "{text}");
        assert!(text.contains("store                   300 ████"), "{text}");
        assert!(text.contains("10.0\n"), "{text}");
    }

    #[test]
    fn nothing_is_known_at_first() {
        let (figures, history) = history(0);
        assert!(
            picture(Path::new("/x"), &figures, &history).contains("0 connections, - % resumed")
        );
        let line = line(0, &figures, &history);
        assert_eq!(line.lines().count(), 2, "{line}");
    }

    #[test]
    fn marks_are_as_high_as_their_values() {
        let values = [Some(0.0), Some(0.5), None, Some(1.0), Some(7.0)];
        assert_eq!(plot(&values, 1.0), "▁▄ ██");
    }
}
