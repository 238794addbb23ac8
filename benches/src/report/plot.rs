//! Plots of a figure as SVG that stands in an HTML page: bars where each peer has
//! one value, lines where there are several sizes. Nothing is loaded from
//! anywhere; colours are the page's style classes `c0` to `c7`.

use std::fmt::Write;

use super::page::escaped;
use super::{Figure, Report, Summary, Unit};

const WIDTH: f64 = 640.0;
/// For peers' names, and for what is behind a bar.
const LABELS: f64 = 150.0;
const VALUES: f64 = 110.0;
const BAR: f64 = 22.0;
/// How many colours there are.
const COLOURS: usize = 8;

/// The plot of `figure`, if anybody was measured by it.
pub(super) fn plot(report: &Report, figure: &Figure) -> Option<String> {
    match figure.over {
        None => bars(report, figure),
        Some(_) => lines(report, figure),
    }
}

/// A bar for each peer, with a line from its smallest to its largest sample.
fn bars(report: &Report, figure: &Figure) -> Option<String> {
    let measured = report.outcomes.iter().enumerate();
    let measured: Vec<(usize, &str, Summary)> = measured
        .filter_map(|(place, one)| {
            Some((place, one.peer.as_str(), one.summary(&figure.name, None)?))
        })
        .collect();
    let most = measured.iter().map(|(.., one)| one.max).reduce(f64::max)?;
    let scale = |value: f64| match most > 0.0 {
        true => value / most * (WIDTH - LABELS - VALUES),
        false => 0.0,
    };
    let mut svg = String::new();
    let mut top = 4.0;
    for (place, peer, summary) in &measured {
        let (middle, end) = (top + BAR / 2.0, LABELS + scale(summary.median));
        let (from, to) = (LABELS + scale(summary.min), LABELS + scale(summary.max));
        let (peer, shown) = (escaped(peer), figure.unit.shown(summary.median));
        write!(
            svg,
            "<text x='{:.1}' y='{:.1}' class='end'>{peer}</text>\
             <rect x='{LABELS}' y='{top:.1}' width='{:.1}' height='{:.1}' class='c{}'/>\
             <line x1='{from:.1}' x2='{to:.1}' y1='{middle:.1}' y2='{middle:.1}' class='axis'/>\
             <text x='{:.1}' y='{:.1}'>{shown}</text>",
            LABELS - 8.0,
            middle + 4.0,
            scale(summary.median),
            BAR - 6.0,
            place % COLOURS,
            end.max(to) + 6.0,
            middle + 4.0,
        )
        .expect("a String takes everything");
        top += BAR;
    }
    Some(framed(figure, top + 4.0, &svg))
}

const HEIGHT: f64 = 260.0;
const LEFT: f64 = 90.0;
const BOTTOM: f64 = 40.0;
/// For the legend.
const RIGHT: f64 = 150.0;

/// A line of medians for each peer, over the sizes; both axes begin at zero.
fn lines(report: &Report, figure: &Figure) -> Option<String> {
    let rows = report.rows();
    let sizes = rows.iter().filter(|(one, _)| one.name == figure.name);
    let sizes: Vec<u64> = sizes.filter_map(|(_, at)| *at).collect();
    let lines: Vec<Vec<(f64, f64)>> = report
        .outcomes
        .iter()
        .map(|outcome| {
            let point = |size: &u64| {
                let median = outcome.summary(&figure.name, Some(*size))?.median;
                Some((number(*size), median))
            };
            sizes.iter().filter_map(point).collect()
        })
        .collect();
    let points = || lines.iter().flatten();
    let widest = points().map(|(x, _)| *x).reduce(f64::max)?.max(1.0);
    let step = step(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let highest = step * 4.0;
    let x = |value: f64| LEFT + value / widest * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / highest * (HEIGHT - BOTTOM - 10.0);

    let mut svg = axes(figure, &sizes, step, x, y);
    let mut legend = 20.0;
    for (place, (line, outcome)) in lines.iter().zip(&report.outcomes).enumerate() {
        if line.is_empty() {
            continue;
        }
        let colour = place % COLOURS;
        let path: Vec<String> = line
            .iter()
            .map(|(size, value)| format!("{:.1},{:.1}", x(*size), y(*value)))
            .collect();
        write!(
            svg,
            "<polyline points='{}' class='l{colour}'/>",
            path.join(" ")
        )
        .expect("a String takes everything");
        for (size, value) in line {
            write!(
                svg,
                "<circle cx='{:.1}' cy='{:.1}' r='3' class='c{colour}'><title>{}</title></circle>",
                x(*size),
                y(*value),
                figure.unit.shown(*value)
            )
            .expect("a String takes everything");
        }
        let left = WIDTH - RIGHT + 14.0;
        write!(
            svg,
            "<circle cx='{left}' cy='{:.1}' r='4' class='c{colour}'/>\
             <text x='{:.1}' y='{legend:.1}'>{}</text>",
            legend - 4.0,
            left + 10.0,
            escaped(&outcome.peer)
        )
        .expect("a String takes everything");
        legend += 18.0;
    }
    Some(framed(figure, HEIGHT.max(legend), &svg))
}

fn axes(
    figure: &Figure,
    sizes: &[u64],
    step: f64,
    x: impl Fn(f64) -> f64,
    y: impl Fn(f64) -> f64,
) -> String {
    let mut svg = String::new();
    for tick in [0.0, 1.0, 2.0, 3.0, 4.0] {
        let height = y(tick * step);
        write!(
            svg,
            "<line x1='{LEFT}' x2='{:.1}' y1='{height:.1}' y2='{height:.1}' class='grid'/>\
             <text x='{:.1}' y='{:.1}' class='end'>{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            height + 4.0,
            tick_label(figure.unit, tick * step)
        )
        .expect("a String takes everything");
    }
    for size in sizes {
        write!(
            svg,
            "<text x='{:.1}' y='{:.1}' class='middle'>{size}</text>",
            x(number(*size)),
            HEIGHT - BOTTOM + 16.0
        )
        .expect("a String takes everything");
    }
    write!(
        svg,
        "<text x='{:.1}' y='{:.1}' class='middle'>{}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 6.0,
        escaped(figure.over.as_deref().unwrap_or_default())
    )
    .expect("a String takes everything");
    svg
}

fn tick_label(unit: Unit, value: f64) -> String {
    match value > 0.0 {
        true => unit.shown(value),
        false => "0".to_owned(),
    }
}

/// A round number of which four are at least `most`: 1, 2, 2.5 or 5 times a power
/// of ten.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let least = most / 4.0;
    let power = 10_f64.powf(least.log10().floor());
    let rounds = [1.0, 2.0, 2.5, 5.0, 10.0].map(|round| round * power);
    let enough = rounds
        .into_iter()
        .find(|step| *step >= least * (1.0 - 1e-9));
    enough.unwrap_or(10.0 * power)
}

fn number(size: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // Sizes are far below 2⁵².
    let number = size as f64;
    number
}

fn framed(figure: &Figure, height: f64, content: &str) -> String {
    let title = escaped(&figure.title);
    format!(
        "<figure><figcaption>{title}</figcaption>\
         <svg viewBox='0 0 {WIDTH} {height:.0}' role='img' aria-label='{title}'>{content}</svg></figure>"
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn steps_are_round_and_four_of_them_suffice() {
        for (most, expected) in [(4.0, 1.0), (4.1, 2.0), (9.0, 2.5), (37.0, 10.0), (0.0, 1.0)] {
            assert!(
                (step(most) - expected).abs() < 1e-9,
                "{most}: {}",
                step(most)
            );
        }
    }

    #[test]
    fn bars_are_as_long_as_their_medians() {
        let report = report(&[("plinth", 30e6, [1.0, 1.0]), ("qemu", 60e6, [1.0, 1.0])]);
        let svg = plot(&report, &report.figures[0]).unwrap();
        assert!(svg.contains("width='190.0'") && svg.contains("width='380.0'"));
        assert!(svg.contains("30.00 ms") && svg.contains("60.00 ms"));
    }

    #[test]
    fn a_line_goes_through_each_size_that_was_measured() {
        let report = report(&[("plinth", 1.0, [4.0, 2.0]), ("qemu", 1.0, [1.0, 1.0])]);
        let svg = plot(&report, &report.figures[1]).unwrap();
        // From the largest value at a tenth of the width to half of it at the end.
        assert!(svg.contains("points='130.0,10.0 490.0,115.0'"), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 2);
    }

    #[test]
    fn what_nobody_has_is_not_plotted() {
        let report = report(&[]);
        assert_eq!(plot(&report, &report.figures[0]), None);
        assert_eq!(plot(&report, &report.figures[1]), None);
    }
}
