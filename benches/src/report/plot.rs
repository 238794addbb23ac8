//! Plots of a figure as SVG that stands in an HTML page: bars where each peer has
//! one value, lines where there are several sizes; of each value the range of its
//! samples is drawn, and how many they are is said. Nothing is loaded from
//! anywhere; colours are the page's style classes `c0` to `c7`.

use std::fmt::Write;

use super::page::escaped;
use super::{Figure, Report, Summary, Unit};
use crate::float::float;

const WIDTH: f64 = 640.0;
/// For peers' names, and for what is behind a bar.
const LABELS: f64 = 150.0;
const VALUES: f64 = 110.0;
const BAR: f64 = 22.0;
/// How many colours there are.
const COLOURS: usize = 8;

/// The plot of `figure`, if anybody was measured by it.
pub(super) fn plot(report: &Report, figure: &Figure) -> Option<String> {
    let (height, content) = match figure.over {
        None => bars(report, figure),
        Some(_) => lines(report, figure),
    }?;
    let caption = escaped(&caption(report, figure));
    Some(format!(
        "<figure><figcaption>{caption}</figcaption>\
         <svg viewBox='0 0 {WIDTH} {height:.0}' role='img' aria-label='{caption}'>{content}</svg></figure>"
    ))
}

/// What a plot is called, which stands alone: titles that are indented go on from
/// the last that is not.
fn caption(report: &Report, figure: &Figure) -> String {
    let titles = report.figures.iter().map(|one| one.title.as_str());
    let place = report
        .figures
        .iter()
        .position(|one| one.name == figure.name);
    let before: Vec<&str> = titles.take(place.unwrap_or(0)).collect();
    let above = before.iter().rev().find(|title| !title.starts_with(' '));
    match (figure.title.strip_prefix("  "), above) {
        (Some(title), Some(above)) => format!("{above}: {title}"),
        _ => figure.title.clone(),
    }
}

/// The height, and a bar for each peer from zero, which is further right the lower
/// samples are below it, with a line from its smallest to its largest sample.
fn bars(report: &Report, figure: &Figure) -> Option<(f64, String)> {
    let measured = report.outcomes.iter().enumerate();
    let measured: Vec<(usize, &str, Summary)> = measured
        .filter_map(|(place, one)| {
            Some((place, one.peer.as_str(), one.summary(&figure.name, None)?))
        })
        .collect();
    let most = measured.iter().map(|(.., one)| one.max).reduce(f64::max)?;
    let least = measured.iter().map(|(.., one)| one.min);
    let (least, most) = (least.fold(0.0, f64::min), most.max(0.0));
    let place_of = |value: f64| match most > least {
        true => LABELS + (value - least) / (most - least) * (WIDTH - LABELS - VALUES),
        false => LABELS,
    };
    let zero = place_of(0.0);
    let mut svg = String::new();
    let mut top = 4.0;
    for (place, peer, summary) in &measured {
        let (middle, end) = (top + BAR / 2.0, place_of(summary.median));
        let (from, to) = (place_of(summary.min), place_of(summary.max));
        let (peer, shown) = (escaped(peer), figure.unit.shown(summary.median));
        write!(
            svg,
            "<text x='{:.1}' y='{:.1}' class='end'>{peer}</text>\
             <rect x='{:.1}' y='{top:.1}' width='{:.1}' height='{:.1}' class='c{}'>\
             <title>{}</title></rect>\
             <line x1='{from:.1}' x2='{to:.1}' y1='{middle:.1}' y2='{middle:.1}' class='axis'/>\
             <text x='{:.1}' y='{:.1}'>{shown}</text>",
            LABELS - 8.0,
            middle + 4.0,
            end.min(zero),
            (end - zero).abs(),
            BAR - 6.0,
            place % COLOURS,
            samples(figure, summary),
            zero.max(to) + 6.0,
            middle + 4.0,
        )
        .expect("a String takes everything");
        top += BAR;
    }
    Some((top + 4.0, svg))
}

const HEIGHT: f64 = 260.0;
const LEFT: f64 = 90.0;
const BOTTOM: f64 = 40.0;
/// For the legend.
const RIGHT: f64 = 150.0;

/// Sizes are true to scale if their labels then have this much room each.
const LABEL: f64 = 20.0;

/// The height, and a line of medians for each peer, over the sizes, and at each size one from the
/// smallest to the largest sample; the other axis begins at zero, or as far below it as samples are.
fn lines(report: &Report, figure: &Figure) -> Option<(f64, String)> {
    let rows = report.rows();
    let sizes = rows.iter().filter(|(one, _)| one.name == figure.name);
    let sizes: Vec<u64> = sizes.filter_map(|(_, at)| *at).collect();
    let places = Places::of(&sizes)?;
    let lines: Vec<Vec<(f64, Summary)>> = report
        .outcomes
        .iter()
        .map(|outcome| {
            let point = |(size, x): (&u64, &f64)| {
                let summary = outcome.summary(&figure.name, Some(*size))?;
                Some((*x, summary))
            };
            sizes.iter().zip(&places.all).filter_map(point).collect()
        })
        .collect();
    let all = || lines.iter().flatten();
    let highest = all().map(|(_, one)| one.max).fold(0.0, f64::max);
    let lowest = all().map(|(_, one)| one.min).fold(0.0, f64::min);
    let step = step(highest.max(-lowest));
    // Steps below zero, of which there are as many at most as above.
    let below = (-lowest / step).ceil().min(4.0);
    let y = |value: f64| {
        let part = (value / step + below) / (4.0 + below);
        HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - 10.0)
    };

    let ticks = [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0].into_iter();
    let ticks: Vec<f64> = ticks
        .filter(|tick| *tick >= -below)
        .map(|tick| tick * step)
        .collect();
    let mut svg = axes(figure, &sizes, &places, &ticks, y);
    let mut legend = 20.0;
    for (place, (line, outcome)) in lines.iter().zip(&report.outcomes).enumerate() {
        if line.is_empty() {
            continue;
        }
        let colour = place % COLOURS;
        let path: Vec<String> = line
            .iter()
            .map(|(x, summary)| format!("{x:.1},{:.1}", y(summary.median)))
            .collect();
        write!(
            svg,
            "<polyline points='{}' class='l{colour}'/>",
            path.join(" ")
        )
        .expect("a String takes everything");
        for (x, summary) in line {
            write!(
                svg,
                "<line x1='{x:.1}' x2='{x:.1}' y1='{:.1}' y2='{:.1}' class='l{colour}'/>\
                 <circle cx='{x:.1}' cy='{:.1}' r='3' class='c{colour}'><title>{}</title></circle>",
                y(summary.min),
                y(summary.max),
                y(summary.median),
                samples(figure, summary)
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
    Some((HEIGHT.max(legend), svg))
}

/// Where sizes are, from left to right.
struct Places {
    /// Of each.
    all: Vec<f64>,
    /// Whether they are as far apart as the sizes are; all equally far otherwise.
    to_scale: bool,
}

impl Places {
    /// Of sizes that ascend; `None` if there are none.
    fn of(sizes: &[u64]) -> Option<Self> {
        let largest = float(*sizes.last()?).max(1.0);
        let width = WIDTH - LEFT - RIGHT;
        let scaled = sizes.iter().map(|size| float(*size) / largest * width);
        let scaled: Vec<f64> = scaled.map(|x| LEFT + x).collect();
        let to_scale = scaled.windows(2).all(|two| two[1] - two[0] >= LABEL);
        if to_scale {
            let all = scaled;
            return Some(Self { all, to_scale });
        }
        let apart = width / float(sizes.len() as u64);
        let even = (1..=sizes.len()).map(|place| LEFT + apart * (float(place as u64) - 0.5));
        Some(Self {
            all: even.collect(),
            to_scale,
        })
    }
}

/// The median, and of how many samples.
fn samples(figure: &Figure, summary: &Summary) -> String {
    let shown = |value| figure.unit.shown(value);
    let (median, min, max) = (summary.median, summary.min, summary.max);
    match summary.count {
        1 => format!("{}, 1 sample", shown(median)),
        count => format!(
            "{}, of {count} samples from {} to {}",
            shown(median),
            shown(min),
            shown(max)
        ),
    }
}

fn axes(
    figure: &Figure,
    sizes: &[u64],
    places: &Places,
    ticks: &[f64],
    y: impl Fn(f64) -> f64,
) -> String {
    let mut svg = String::new();
    for tick in ticks {
        let height = y(*tick);
        write!(
            svg,
            "<line x1='{LEFT}' x2='{:.1}' y1='{height:.1}' y2='{height:.1}' class='grid'/>\
             <text x='{:.1}' y='{:.1}' class='end'>{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            height + 4.0,
            tick_label(figure.unit, *tick)
        )
        .expect("a String takes everything");
    }
    for (size, x) in sizes.iter().zip(&places.all) {
        write!(
            svg,
            "<text x='{x:.1}' y='{:.1}' class='middle'>{size}</text>",
            HEIGHT - BOTTOM + 16.0
        )
        .expect("a String takes everything");
    }
    let scale = match places.to_scale {
        true => "",
        false => " (not to scale)",
    };
    write!(
        svg,
        "<text x='{:.1}' y='{:.1}' class='middle'>{}{scale}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 6.0,
        escaped(figure.over.as_deref().unwrap_or_default())
    )
    .expect("a String takes everything");
    svg
}

fn tick_label(unit: Unit, value: f64) -> String {
    match value.abs() > 0.0 {
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
    fn bars_of_what_is_below_zero_lead_to_the_left_of_it() {
        let report = report(&[("plinth", -10e6, [1.0, 1.0]), ("qemu", 30e6, [1.0, 1.0])]);
        let svg = plot(&report, &report.figures[0]).unwrap();
        assert!(!svg.contains("width='-"), "{svg}");
        // Zero is at a quarter of the width.
        assert!(
            svg.contains("<rect x='150.0' y='4.0' width='95.0'"),
            "{svg}"
        );
        assert!(
            svg.contains("<rect x='245.0' y='26.0' width='285.0'"),
            "{svg}"
        );
        assert!(svg.contains("-10.00 ms"), "{svg}");
    }

    #[test]
    fn lines_below_zero_stay_on_the_plot() {
        let report = report(&[("plinth", 1.0, [4.0, -2.0])]);
        let svg = plot(&report, &report.figures[1]).unwrap();
        // Of six steps two are below zero: from the top of the plot to its bottom.
        assert!(svg.contains("points='130.0,10.0 490.0,220.0'"), "{svg}");
        assert!(svg.contains("class='end'>-2.00/s<"), "{svg}");
        assert!(svg.contains("y1='150.0' y2='150.0' class='grid'"), "{svg}");
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
    fn sizes_that_would_lie_on_each_other_are_not_to_scale() {
        let gap = |sizes: &[u64]| {
            let places = Places::of(sizes).unwrap();
            let gaps = places.all.windows(2).map(|two| two[1] - two[0]);
            (gaps.reduce(f64::min).unwrap(), places.to_scale)
        };
        assert!(gap(&[0, 1, 4, 16]).1 && gap(&[1, 10, 50, 100]).1);
        let (gap, to_scale) = gap(&[1, 16, 64, 256, 1024]);
        assert!(!to_scale && gap >= LABEL, "{gap}");
        let mut report = report(&[("plinth", 1.0, [4.0, 2.0])]);
        report.outcomes[0].add("rate", Some(1000), 1.0);
        let svg = plot(&report, &report.figures[1]).unwrap();
        assert!(svg.contains("VMs (not to scale)"), "{svg}");
    }

    #[test]
    fn how_far_samples_are_apart_is_drawn_and_how_many_there_are_is_said() {
        let mut report = report(&[("plinth", 1e6, [4.0, 2.0])]);
        report.outcomes[0].add("rate", Some(1), 2.0);
        let svg = plot(&report, &report.figures[1]).unwrap();
        // From all of the height to half of it.
        assert!(svg.contains("y1='115.0' y2='10.0'"), "{svg}");
        let said = "3.00/s, of 2 samples from 2.00/s to 4.00/s";
        assert!(svg.contains(said), "{svg}");
        let svg = plot(&report, &report.figures[0]).unwrap();
        assert!(svg.contains("of 2 samples"), "{svg}");
    }

    #[test]
    fn a_plot_is_called_what_it_is_without_the_row_above() {
        let mut report = report(&[("plinth", 1.0, [1.0, 1.0])]);
        report.figures[1].title = "  of it at once".to_owned();
        let svg = plot(&report, &report.figures[1]).unwrap();
        assert!(svg.contains("<figcaption>a time: of it at once</"), "{svg}");
    }

    #[test]
    fn what_nobody_has_is_not_plotted() {
        let report = report(&[]);
        assert_eq!(plot(&report, &report.figures[0]), None);
        assert_eq!(plot(&report, &report.figures[1]), None);
    }
}
