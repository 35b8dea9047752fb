//! Line charts, one above the other, in an SVG file.
//!
//! Axes begin at 0. The same charts always give the same file. A file that cannot be written is an
//! error with its path.

use std::fs;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::CliError;

/// Line chart with a title, axis labels, named series and an optional marked position.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) x_label: &'a str,
    pub(super) y_label: &'a str,
    pub(super) series: Vec<(String, Vec<(f64, f64)>)>,
    /// Position of a vertical line on the x axis; `None` draws no such line.
    pub(super) marked_x: Option<f64>,
}

/// Writes the charts to an SVG file, and replaces the file if it exists.
pub(super) fn write_charts(path: &Path, charts: &[Chart<'_>]) -> Result<(), CliError> {
    let mut text = String::new();
    // Drawing into a string fails only for numbers that are not finite; these are finite.
    draw_charts(&mut text, charts)
        .map_err(|error| CliError::write_failed(path, &std::io::Error::other(error)))?;
    fs::write(path, text).map_err(|error| CliError::write_failed(path, &error))
}

fn draw_charts(text: &mut String, charts: &[Chart<'_>]) -> Result<(), String> {
    let (width, height) = CHART_SIZE_PX;
    let size = (width, height * charts.len().max(1) as u32);
    let root = SVGBackend::with_string(text, size).into_drawing_area();
    root.fill(&WHITE).map_err(|error| error.to_string())?;
    for (chart, area) in charts.iter().zip(root.split_evenly((charts.len().max(1), 1))) {
        chart.draw(&area)?;
    }
    root.present().map_err(|error| error.to_string())
}

impl Chart<'_> {
    fn draw(&self, root: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), String> {
        let points = self.series.iter().flat_map(|(_, line)| line);
        let (right, top) =
            points.fold((1.0_f64, 0.0_f64), |(x, y), point| (x.max(point.0), y.max(point.1)));
        let top = if top > 0.0 { 1.05 * top } else { 1.0 };
        let to_message = |error: DrawingAreaErrorKind<_>| error.to_string();
        let mut chart = ChartBuilder::on(root)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..right, 0.0..top)
            .map_err(to_message)?;
        let mesh = &mut chart.configure_mesh();
        mesh.x_desc(self.x_label).y_desc(self.y_label).light_line_style(WHITE);
        mesh.draw().map_err(to_message)?;
        for (index, (name, line)) in self.series.iter().enumerate() {
            let colour = SERIES_COLOURS[index % SERIES_COLOURS.len()];
            let style = colour.stroke_width(if index == 0 { 3 } else { 1 });
            let series = chart.draw_series(LineSeries::new(line.iter().copied(), style));
            series
                .map_err(to_message)?
                .label(name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
        }
        if let Some(x) = self.marked_x {
            let line = LineSeries::new([(x, 0.0), (x, top)], BLACK.stroke_width(1));
            chart.draw_series(line).map_err(to_message)?;
        }
        // A single series needs no legend: the chart's title names it.
        if self.series.len() < 2 {
            return Ok(());
        }
        let labels = &mut chart.configure_series_labels();
        labels
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(BLACK);
        labels.draw().map_err(to_message)
    }
}

const CHART_SIZE_PX: (u32, u32) = (900, 480);
/// Colours of Okabe and Ito, which colour-blind readers can tell apart
/// (<https://jfly.uni-koeln.de/color/>).
const SERIES_COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_lines_and_is_the_same_each_time() {
        let chart = Chart {
            title: "rolled back",
            x_label: "minute",
            y_label: "part of the runs",
            series: vec![
                ("jeffrey".into(), vec![(0.0, 0.0), (30.0, 1.0)]),
                ("<other> & \"rule\"".into(), Vec::new()),
            ],
            marked_x: Some(10.0),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.svg");
        let charts = [chart];
        write_charts(&path, &charts).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        assert!(first.contains("jeffrey") && first.contains("rolled back"));
        assert!(!first.contains("<other>"), "names are text");
        write_charts(&path, &charts).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert!(write_charts(&folder.path().join("none/out.svg"), &charts).is_err());
    }
}
