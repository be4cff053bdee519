//! Plots of a comparison as SVG, and as a page with the table.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::measure::Row;
use super::sweep::Point;
use crate::exit::Exit;
use crate::failure::Failure;

const SIZE: (u32, u32) = (960, 400);

/// Colours of the widths, narrow to wide: told apart also by those who see no red or green.
const COLORS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn failed(error: impl Display) -> Failure {
    Failure::new(Exit::Output, format!("the plot cannot be drawn: {error}"))
}

/// Draws with a function.
fn svg(draw: impl FnOnce(&Area<'_>, &Area<'_>) -> Result<(), Failure>) -> Result<String, Failure> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        draw(&left, &right)?;
        root.present().map_err(failed)?;
    }
    Ok(text)
}

/// Time and gas of each width as bars.
pub fn bars(rows: &[Row]) -> Result<String, Failure> {
    svg(|left, right| {
        bar_chart(left, "time (ms), median", rows, |row| row.time.median * 1e3)?;
        bar_chart(right, "gas", rows, |row| row.gas as f64)
    })
}

fn bar_chart(area: &Area<'_>, title: &str, rows: &[Row], value: impl Fn(&Row) -> f64) -> Result<(), Failure> {
    let top = rows.iter().map(&value).fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..rows.len() as f64, 0.0..top)
        .map_err(failed)?;
    let label = |x: &f64| {
        // A label stands below the middle of its bar.
        rows.get((*x - 0.5).round().max(0.0) as usize)
            .filter(|_| (x.fract() - 0.5).abs() < 0.01)
            .map_or(String::new(), |row| format!("{} bits", row.arch))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * rows.len() + 1)
        .x_label_formatter(&label)
        .y_label_formatter(&|y| short(*y))
        .draw()
        .map_err(failed)?;
    chart
        .draw_series(rows.iter().enumerate().map(|(index, row)| {
            let x = index as f64;
            Rectangle::new([(x + 0.2, 0.0), (x + 0.8, value(row))], COLORS[index % COLORS.len()].filled())
        }))
        .map_err(failed)?;
    Ok(())
}

/// Time and gas over the values of a sweep, a line for each width.
pub fn curves(argument: &str, points: &[Point]) -> Result<String, Failure> {
    svg(|left, right| {
        curve_chart(left, "time (ms)", argument, points, |cell| cell.seconds * 1e3)?;
        curve_chart(right, "gas", argument, points, |cell| cell.gas as f64)
    })
}

fn curve_chart(
    area: &Area<'_>,
    title: &str,
    argument: &str,
    points: &[Point],
    value: impl Fn(&super::sweep::Cell) -> f64,
) -> Result<(), Failure> {
    let x = |point: &Point| point.value.parse::<f64>().unwrap_or(f64::MAX);
    let first = points.first().map_or(0.0, x);
    let last = points.last().map_or(1.0, x);
    let last = if last > first { last } else { first + 1.0 };
    let top = points.iter().flat_map(|point| &point.cells).map(&value).fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.05 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(first..last, 0.0..top)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(argument)
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .draw()
        .map_err(failed)?;
    let widths = points.first().map_or(0, |point| point.cells.len());
    for index in 0..widths {
        let color = COLORS[index % COLORS.len()];
        let line = points.iter().filter_map(|point| Some((x(point), value(point.cells.get(index)?))));
        let arch = points[0].cells[index].arch;
        chart
            .draw_series(LineSeries::new(line, &color))
            .map_err(failed)?
            .label(format!("{arch} bits"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(failed)
}

/// A number of an axis, short.
fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        1e15.. => format!("{number:.1e}"),
        1e9.. => format!("{} G", trimmed(number / 1e9)),
        1e6.. => format!("{} M", trimmed(number / 1e6)),
        1e4.. => format!("{} k", trimmed(number / 1e3)),
        _ => trimmed(number),
    }
}

fn trimmed(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text inside of HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A page of its own: a title, paragraphs, a table, and plots.
pub fn page(title: &str, remarks: &[String], table: &[Vec<String>], plots: &[String]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>\
         body{{font-family:sans-serif;margin:2em;max-width:62em}}table{{border-collapse:collapse}}\
         td,th{{border:1px solid #ccc;padding:.3em .6em;text-align:right;overflow-wrap:anywhere}}\
         svg{{max-width:100%;height:auto}}</style></head>\n<body><h1>{title}</h1>\n",
        title = escaped(title)
    );
    page.push_str("<table>\n");
    for (index, row) in table.iter().enumerate() {
        let tag = if index == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        page.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    page.push_str("</table>\n");
    for remark in remarks {
        page.push_str(&format!("<p>{}</p>\n", escaped(remark)));
    }
    for plot in plots {
        page.push_str(plot);
        page.push('\n');
    }
    page.push_str("</body></html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_axes_are_short() {
        let shown = [0.0, 0.25, 1.0, 999.0, 12_000.0, 3_500_000.0, 2e9, 1e18].map(short);
        assert_eq!(shown, ["0", "0.25", "1", "999", "12 k", "3.5 M", "2 G", "1.0e18"]);
    }

    #[test]
    fn pages_hold_text_and_no_markup_of_it() {
        let page = page("a<b", &["x & y".to_owned()], &[vec!["<i>".to_owned()]], &["<svg></svg>".to_owned()]);
        for part in ["a&lt;b", "x &amp; y", "<th>&lt;i&gt;</th>", "<svg></svg>"] {
            assert!(page.contains(part), "{part} is missing: {page}");
        }
    }
}
