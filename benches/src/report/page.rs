//! A document as one HTML page that needs nothing else, and no network: tables,
//! plots, conditions, settings, and the raw data itself.

use std::fmt::Write;

use super::harmless::harmless;
use super::{Document, Figure, Mode, Outcome, Report, Summary, plot, table};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8886;--text:light-dark(#222,#ddd)}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:var(--text)}\
table{border-collapse:collapse;display:block;overflow-x:auto}\
td,th{border-bottom:1px solid var(--line);padding:.2rem .7rem;text-align:right;white-space:nowrap}\
td:first-child,th:first-child{text-align:left;white-space:pre}\
.plots{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0;flex:1 1 30rem}\
figcaption{font-weight:600}svg{width:100%;font-size:12px}svg text{fill:currentColor}\
.end{text-anchor:end}.middle{text-anchor:middle}\
.grid{stroke:var(--line)}.axis{stroke:currentColor}polyline{fill:none;stroke-width:2}\
.range{display:block;font-size:11px;opacity:.7}\
li{white-space:pre-wrap;overflow-wrap:anywhere}\
.c0{fill:#0b6e4f}.c1{fill:#4fb286}.c2{fill:#c1440e}.c3{fill:#e58f65}\
.c4{fill:#2f6690}.c5{fill:#81a4cd}.c6{fill:#8e3b8a}.c7{fill:#b8860b}\
.l0{stroke:#0b6e4f}.l1{stroke:#4fb286}.l2{stroke:#c1440e}.l3{stroke:#e58f65}\
.l4{stroke:#2f6690}.l5{stroke:#81a4cd}.l6{stroke:#8e3b8a}.l7{stroke:#b8860b}";

/// The page of `document`.
///
/// # Errors
/// None but those of turning it into JSON, which has none.
pub fn page(document: &Document) -> serde_json::Result<String> {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width'>\
         <title>plinth: benchmarks</title><style>{STYLE}</style></head><body>\n\
         <h1>plinth beside other machine monitors</h1>\n{}",
        list(&document.conditions.lines())
    );
    for report in &document.reports {
        html.push_str(&section(report, document.conditions.mode));
    }
    // Within a script it is not only the end of one that is markup. In JSON this
    // character is in strings only, where it may be written so.
    let raw = serde_json::to_string(document)?.replace('<', "\\u003c");
    let raw = without_controls(&raw);
    write!(
        html,
        "<script type='application/json' id='raw'>{raw}</script>\n</body></html>\n"
    )
    .expect("a String takes everything");
    Ok(html)
}

fn section(report: &Report, mode: Mode) -> String {
    let plots = report.figures.iter();
    let plots: String = plots
        .filter_map(|figure| plot::plot(report, figure))
        .collect();
    let about: Vec<String> = table::undecided(report, mode)
        .into_iter()
        .chain(report.about())
        .collect();
    let peers = report.outcomes.iter();
    let peers: String = peers.map(|outcome| described(outcome, mode)).collect();
    format!(
        "<h2>{}</h2>\n{}\n<div class='plots'>{plots}</div>\n{}{peers}",
        escaped(&report.benchmark),
        rows(report, mode),
        list(&about)
    )
}

fn rows(report: &Report, mode: Mode) -> String {
    let names = report.outcomes.iter();
    let names: String = names
        .map(|outcome| format!("<th>{}</th>", escaped(&outcome.peer)))
        .collect();
    let mut html = format!("<table><tr><th></th>{names}<th>to the best</th></tr>\n");
    for (figure, at) in report.rows() {
        let title = escaped(&table::title(figure, at));
        write!(html, "<tr><td>{title}</td>").expect("a String takes everything");
        for outcome in &report.outcomes {
            let shown = table::cell(outcome, figure, at);
            let summary = outcome.summary(&figure.name, at);
            let range = summary.map_or(String::new(), |summary| range(figure, &summary));
            write!(html, "<td>{shown}{range}</td>").expect("a String takes everything");
        }
        let beside = table::beside(report, figure, at, mode).unwrap_or_default();
        writeln!(html, "<td>{beside}</td></tr>").expect("a String takes everything");
    }
    html + "</table>"
}

/// How many samples there are, and where the median is if they differ.
fn range(figure: &Figure, summary: &Summary) -> String {
    let (low, high) = summary.range();
    let (low, high) = (figure.unit.shown(low), figure.unit.shown(high));
    let what = match (summary.count, summary.spread() > 0.0) {
        (1, _) => "1 sample".to_owned(),
        (count, false) => format!("{count} equal samples"),
        (count, true) if summary.interval.is_some() => {
            format!("{low} to {high} (95 %, {count} samples)")
        }
        (count, true) => format!("{low} to {high} ({count} samples)"),
    };
    format!("<span class='range'>{what}</span>")
}

fn described(outcome: &Outcome, mode: Mode) -> String {
    let mut lines = table::settings(outcome, mode);
    lines.extend(table::remarks(outcome));
    format!(
        "<h3>{}: {}</h3>{}",
        escaped(&outcome.peer),
        escaped(&outcome.version),
        list(&lines)
    )
}

fn list(lines: &[String]) -> String {
    let items: String = lines
        .iter()
        .map(|line| format!("<li>{}</li>", escaped(line)))
        .collect();
    format!("<ul>{items}</ul>\n")
}

/// JSON without the control characters that it may have in its strings as they are.
fn without_controls(json: &str) -> String {
    let mut without = String::with_capacity(json.len());
    for character in json.chars() {
        match character.is_control() {
            true => without.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => without.push(character),
        }
    }
    without
}

/// `text` as it stands in HTML, in quotes too.
pub(super) fn escaped(text: &str) -> String {
    let text = harmless(text);
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::super::{Conditions, FORMAT};
    use super::*;

    fn document() -> Document {
        let mut report = report(&[
            ("plinth", 40e6, [100.0, 3000.0]),
            ("kvmtool", 50e6, [80.0, 4000.0]),
        ]);
        report.outcomes[0].settings = "a </script> & 'quotes'".to_owned();
        // In HTML, these two together make that the next end of a script is none.
        report.outcomes[0].command_line = "<!--<script>".to_owned();
        Document {
            format: FORMAT,
            conditions: Conditions::default(),
            reports: vec![report],
        }
    }

    #[test]
    fn the_page_needs_no_network_and_no_other_file() {
        let html = page(&document()).unwrap();
        for load in ["http:", "https:", "src=", "href=", "@import", "url("] {
            assert!(!html.contains(load), "{load}");
        }
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("<td>+25.0 %</td>") && html.contains("mode: deterministic"));
        assert!(html.contains("a &lt;/script&gt; &amp; &#39;quotes&#39;"));
    }

    #[test]
    fn a_console_keeps_its_lines_and_controls_nothing() {
        let mut document = document();
        let console = "panic:\r\n\tat\u{1b}[2J\u{9b}1m\u{7f}\0".to_owned();
        document.reports[0].outcomes[0].failures.push(console);
        let html = page(&document).unwrap();
        let shown = "failed: panic:\n\tat\\u{1b}[2J\\u{9b}1m\\u{7f}\\u{0}</li>";
        assert!(html.contains(shown), "{html}");
        assert!(html.contains("li{white-space:pre-wrap"));
        let raw = |one: char| one.is_control() && one != '\n' && one != '\t';
        assert!(!html.contains(raw), "{html}");
        let (_, json) = html.split_once("id='raw'>").unwrap();
        let (json, _) = json.split_once("</script>").unwrap();
        let read: Document = serde_json::from_str(json).unwrap();
        assert_eq!(read, document);
    }

    #[test]
    fn the_page_holds_the_raw_data() {
        let document = document();
        let html = page(&document).unwrap();
        let (_, raw) = html.split_once("id='raw'>").unwrap();
        let (raw, _) = raw.split_once("</script>").unwrap();
        let read: Document = serde_json::from_str(raw).unwrap();
        assert_eq!(read, document);
        assert!(!raw.contains('<'), "{raw}");
    }

    #[test]
    fn each_figure_says_how_many_samples_it_has() {
        let mut document = document();
        let outcome = &mut document.reports[0].outcomes[1];
        for time in [51e6, 52e6, 53e6, 54e6] {
            outcome.add("time", None, time);
        }
        let html = page(&document).unwrap();
        for part in [
            "2 equal samples",
            "1 sample<",
            "50.00 ms to 54.00 ms (95 %, 6 samples)",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
