//! The probe's report: a table for people, JSON for programs, and the verdict.

use super::target::Target;
use super::{Certificate, Place, Row, Trouble};
use crate::arguments::Probe;
use crate::way::Way;
use serde_json::{Value, json};
use std::fmt::Write;

/// All that was found.
pub(super) struct Report<'a> {
    pub(super) target: &'a Target,
    pub(super) places: &'a [Place],
    /// How many addresses were not asked.
    pub(super) left_out: usize,
    pub(super) options: &'a Probe,
}

impl Report<'_> {
    /// Whether something was offered, and all of it has resumed.
    pub(super) fn is_good(&self) -> bool {
        let mut rows = self.places.iter().flat_map(|place| &place.rows);
        self.has_offers() && rows.all(|(_, row)| row.is_good())
    }

    /// Whether something was offered.
    pub(super) fn has_offers(&self) -> bool {
        self.places.iter().flat_map(|place| &place.rows).any(|(_, row)| row.offered > 0)
    }

    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{} port {}, as {}: {} offers in each way\n\n",
            self.target.host,
            self.target.port,
            self.target.name.to_str(),
            self.options.count
        );
        let width = self.places.iter().map(|place| place.address.to_string().len()).max();
        let width = width.unwrap_or(0).max("address".len());
        line(&mut text, width, ["address", "way", "resumed", "elsewhere"]);
        for place in self.places {
            for (way, row) in &place.rows {
                let address = place.address.to_string();
                line(&mut text, width, [&address, title(*way), &resumed(row), &elsewhere(row)]);
            }
        }
        text.push('\n');
        for place in self.places {
            for (way, row) in &place.rows {
                for (other, _) in row.elsewhere.iter().filter(|(_, resumed)| !resumed) {
                    let (from, way) = (place.address, title(*way));
                    let _ = writeln!(text, "{way}: a session of {from} does not resume at {other}");
                }
            }
            if let Some(certificate) = &place.certificate {
                let _ = writeln!(text, "{}: {}", place.address, described(certificate));
            }
        }
        if self.names_differ() {
            text.push_str("The certificates are for different names: sessions stay apart.\n");
        }
        if self.left_out > 0 {
            let _ = writeln!(text, "{} more addresses were not asked", self.left_out);
        }
        text
    }

    fn names_differ(&self) -> bool {
        let mut names =
            self.places.iter().filter_map(|place| place.certificate.as_ref()).map(|c| {
                let mut names = c.names.clone();
                names.sort();
                names
            });
        let first = names.next();
        names.any(|other| Some(other) != first)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "host": self.target.host,
            "port": self.target.port,
            "name": self.target.name.to_str(),
            "count": self.options.count,
            "all_resumed": self.is_good(),
            "addresses_not_asked": self.left_out,
            "addresses": self.places.iter().map(place).collect::<Vec<_>>(),
        })
    }
}

fn place(place: &Place) -> Value {
    json!({
        "address": place.address.to_string(),
        "certificate": place.certificate.as_ref().map(|one| json!({
            "sha256": one.sha256,
            "names": one.names,
            "trusted": one.untrusted.is_none(),
            "untrusted_because": one.untrusted,
        })),
        "ways": place.rows.iter().map(|(way, row)| json!({
            "way": way.name(),
            "offered": row.offered,
            "resumed": row.resumed,
            "trouble": row.trouble.as_ref().map(words),
            "elsewhere": row.elsewhere.iter().map(|(address, resumed)| json!({
                "address": address.to_string(),
                "resumed": resumed,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn line(text: &mut String, width: usize, [address, way, resumed, elsewhere]: [&str; 4]) {
    let line = format!("{address:<width$}  {way:<14}  {resumed:<10}  {elsewhere}");
    text.push_str(line.trim_end());
    text.push('\n');
}

fn title(way: Way) -> &'static str {
    match way {
        Way::Id => "TLS 1.2 id",
        Way::Ticket12 => "TLS 1.2 ticket",
        Way::Tls13 => "TLS 1.3",
    }
}

/// The figures of a row, and why there are no more.
fn resumed(row: &Row) -> String {
    match (&row.trouble, row.offered) {
        (None, offered) => format!("{} of {offered}", row.resumed),
        (Some(trouble), 0) => words(trouble),
        (Some(trouble), offered) => format!("{} of {offered}, {}", row.resumed, words(trouble)),
    }
}

fn elsewhere(row: &Row) -> String {
    let resumed = row.elsewhere.iter().filter(|(_, resumed)| *resumed).count();
    match row.elsewhere.len() {
        0 => String::new(),
        all => format!("{resumed} of {all}"),
    }
}

fn words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NotSpoken => "not spoken".to_owned(),
        Trouble::NothingGiven => "nothing given to offer".to_owned(),
        Trouble::Failed(why) => format!("failed: {why}"),
    }
}

fn described(certificate: &Certificate) -> String {
    let names = match certificate.names.as_slice() {
        [] => "no DNS name".to_owned(),
        names => names.join(" "),
    };
    let trust = match &certificate.untrusted {
        None => "trusted".to_owned(),
        Some(why) => format!("not trusted ({why})"),
    };
    format!("certificate {trust}, for {names}\n  SHA-256 {}", certificate.sha256)
}
