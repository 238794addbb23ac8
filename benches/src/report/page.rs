//! A document as one HTML page that needs nothing else, and no network: tables,
//! plots, conditions, settings, and the raw data itself.

use std::fmt::Write;

use super::{Document, Outcome, Report, plot, table};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8886;--text:light-dark(#222,#ddd)}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:var(--text)}\
table{border-collapse:collapse;display:block;overflow-x:auto}\
td,th{border-bottom:1px solid var(--line);padding:.2rem .7rem;text-align:right;white-space:nowrap}\
td:first-child,th:first-child{text-align:left}\
.plots{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0;flex:1 1 30rem}\
figcaption{font-weight:600}svg{width:100%;font-size:12px}svg text{fill:currentColor}\
.end{text-anchor:end}.middle{text-anchor:middle}\
.grid{stroke:var(--line)}.axis{stroke:currentColor}polyline{fill:none;stroke-width:2}\
.range{display:block;font-size:11px;opacity:.7}\
pre{white-space:pre-wrap;overflow-wrap:anywhere}\
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
        html.push_str(&section(report));
    }
    // Within a script nothing but the end of one is markup.
    let raw = serde_json::to_string(document)?.replace("</", "<\\/");
    write!(
        html,
        "<script type='application/json' id='raw'>{raw}</script>\n</body></html>\n"
    )
    .expect("a String takes everything");
    Ok(html)
}

fn section(report: &Report) -> String {
    let plots = report.figures.iter();
    let plots: String = plots
        .filter_map(|figure| plot::plot(report, figure))
        .collect();
    let mut about = table::unmeasured(report);
    about.extend(report.parameters.iter().cloned());
    let peers: String = report.outcomes.iter().map(described).collect();
    format!(
        "<h2>{}</h2>\n{}\n<div class='plots'>{plots}</div>\n{}{peers}",
        escaped(&report.benchmark),
        rows(report),
        list(&about)
    )
}

fn rows(report: &Report) -> String {
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
            let range = summary.filter(|summary| summary.spread() > 0.0);
            let range = range.map_or(String::new(), |summary| {
                let (low, high) = summary.interval.unwrap_or((summary.min, summary.max));
                let what = if summary.interval.is_some() {
                    "95 %"
                } else {
                    "all"
                };
                let (low, high) = (figure.unit.shown(low), figure.unit.shown(high));
                format!("<span class='range'>{low} to {high} ({what})</span>")
            });
            write!(html, "<td>{shown}{range}</td>").expect("a String takes everything");
        }
        let ahead = report.ahead(figure, at);
        let ahead = ahead.map_or(String::new(), |ahead| format!("{:+.1} %", ahead * 100.0));
        writeln!(html, "<td>{ahead}</td></tr>").expect("a String takes everything");
    }
    html + "</table>"
}

fn described(outcome: &Outcome) -> String {
    let mut lines = vec![
        outcome.settings.clone(),
        format!("command line: {}", outcome.command_line),
        format!(
            "{} outer machines stalled and were tried again",
            outcome.stalls
        ),
    ];
    let failures = outcome.failures.iter();
    lines.extend(failures.map(|failure| format!("failed: {failure}")));
    lines.extend(outcome.notes.iter().cloned());
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

/// `text` as it stands in HTML, in quotes too.
pub(super) fn escaped(text: &str) -> String {
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
    fn the_page_holds_the_raw_data() {
        let document = document();
        let html = page(&document).unwrap();
        let (_, raw) = html.split_once("id='raw'>").unwrap();
        let (raw, _) = raw.split_once("</script>").unwrap();
        let read: Document = serde_json::from_str(raw).unwrap();
        assert_eq!(read, document);
    }
}
