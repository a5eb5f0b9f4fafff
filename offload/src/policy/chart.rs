//! A simulation as a drawing.

use super::{
    Mode,
    simulate::{Cell, Simulation, battery},
};
use std::fmt::Write as _;

/// Sizes, in pixels.
const PANEL_WIDTH: usize = 320;
const PANEL_HEIGHT: usize = 220;
const LEFT: usize = 76;
const GAP: usize = 84;
const TOP: usize = 48;
const BELOW: usize = 84;
/// A narrower cell has no room for its letter.
const LETTER_WIDTH: usize = 12;
/// From a letter's middle down to its base line.
const LETTER_DROP: usize = 4;
/// Most labels along an axis.
const LABELS_MAX: usize = 8;

/// Text follows the reader's colours; the cells are the same on both.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222}\
.h{font-weight:600}.l{fill:#000;text-anchor:middle}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.l{fill:#000}}";

/// A mode's colour, from the palette of Okabe and Ito, and its letter for those
/// who do not see colours. Grey is for no mode.
fn look(mode: Option<Mode>) -> (&'static str, char) {
    match mode {
        Some(Mode::Local) => ("#56b4e9", 'L'),
        Some(Mode::Split) => ("#e69f00", 'S'),
        Some(Mode::Stream) => ("#009e73", 'C'),
        Some(Mode::VerifySequential) => ("#cc79a7", 'V'),
        Some(Mode::VerifyPipelined) => ("#d55e00", 'P'),
        Some(Mode::DraftAtNode) => ("#f0e442", 'N'),
        None => ("#999999", '-'),
    }
}

/// What cells side by side say, for those who point at them.
fn describe(run: &[Cell]) -> String {
    let (first, last) = (&run[0], &run[run.len() - 1]);
    let name = first.mode.map_or("none", Mode::name);
    let time = match (first.tpot_ms, last.tpot_ms) {
        (Some(from), Some(to)) => format!(", {from:.1} to {to:.1} ms a token"),
        _ => String::new(),
    };
    let (from, to) = (first.rtt_ms, last.rtt_ms);
    format!("{name}{time} at {from} to {to} ms, {} Mbit/s", first.mbit_s)
}

impl Simulation {
    /// An SVG document: for each charge a panel of RTT by bandwidth, coloured
    /// by the mode that is chosen.
    pub fn svg(&self) -> String {
        let panels = self.axes.charge.len();
        let width = LEFT + panels * (PANEL_WIDTH + GAP);
        let height = TOP + PANEL_HEIGHT + BELOW;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\">\n\
             <title>The mode chosen, by round trip and bandwidth</title>\n\
             <style>{STYLE}</style>\n"
        );
        for (index, (charge, cells)) in self.panels().enumerate() {
            self.panel(&mut svg, LEFT + index * (PANEL_WIDTH + GAP), charge, cells);
        }
        self.legend(&mut svg, height - 16);
        svg.push_str("</svg>\n");
        svg
    }

    fn panel(&self, svg: &mut String, left: usize, charge: Option<f64>, cells: &[Cell]) {
        let (columns, rows) = (self.axes.rtt_ms.len(), self.axes.mbit_s.len());
        // Edges are shared, so that no gap shows between cells.
        let x = |column: usize| left + column * PANEL_WIDTH / columns;
        // The least bandwidth lies at the bottom.
        let y = |row: usize| TOP + (rows - row) * PANEL_HEIGHT / rows;
        let mut put = |line: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = svg.write_fmt(line);
            svg.push('\n');
        };
        put(format_args!(
            "<text class=\"h\" x=\"{left}\" y=\"{}\">{}</text>",
            TOP - 14,
            battery(charge)
        ));
        // They lie above all rectangles.
        let mut letters = Vec::new();
        for (row, cells) in cells.chunks(columns).enumerate() {
            let (top, height) = (y(row + 1), y(row) - y(row + 1));
            let mut column = 0;
            // Neighbours of one mode are one rectangle.
            for run in cells.chunk_by(|one, other| one.mode == other.mode) {
                let (start, end) = (x(column), x(column + run.len()));
                column += run.len();
                let width = end - start;
                let (colour, letter) = look(run[0].mode);
                put(format_args!(
                    "<rect x=\"{start}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" \
                     fill=\"{colour}\" shape-rendering=\"crispEdges\"><title>{}</title></rect>",
                    describe(run)
                ));
                // Some rows with letters are enough, and easier to read.
                if row % rows.div_ceil(LABELS_MAX) == 0 && width >= LETTER_WIDTH {
                    let (x, y) = (start + width / 2, top + height / 2 + LETTER_DROP);
                    letters.push(format!(
                        "<text class=\"l\" x=\"{x}\" y=\"{y}\">{letter}</text>"
                    ));
                }
            }
        }
        for letter in letters {
            put(format_args!("{letter}"));
        }
        let bottom = TOP + PANEL_HEIGHT;
        for column in (0..columns).step_by(columns.div_ceil(LABELS_MAX)) {
            let middle = (x(column) + x(column + 1)) / 2;
            put(format_args!(
                "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 16,
                self.axes.rtt_ms[column]
            ));
        }
        for row in (0..rows).step_by(rows.div_ceil(LABELS_MAX)) {
            put(format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                left - 6,
                (y(row) + y(row + 1)) / 2 + LETTER_DROP,
                self.axes.mbit_s[row]
            ));
        }
        put(format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">RTT, ms</text>",
            left + PANEL_WIDTH / 2,
            bottom + 34
        ));
        put(format_args!(
            "<text transform=\"translate({} {}) rotate(-90)\" text-anchor=\"middle\">bandwidth, \
             Mbit/s</text>",
            left - 54,
            TOP + PANEL_HEIGHT / 2
        ));
    }

    /// The modes that occur, with their colours.
    fn legend(&self, svg: &mut String, y: usize) {
        let modes = Mode::ALL.map(Some).into_iter().chain([None]);
        let occurring = modes.filter(|mode| self.cells.iter().any(|cell| cell.mode == *mode));
        let mut x = LEFT;
        for mode in occurring {
            let (colour, letter) = look(mode);
            let name = mode.map_or("none", Mode::name);
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"14\" fill=\"{colour}\"/>\
                 <text class=\"l\" x=\"{}\" y=\"{}\">{letter}</text>\
                 <text x=\"{}\" y=\"{y}\">{name}</text>",
                y - 11,
                x + 7,
                y - 4 + LETTER_DROP,
                x + 19,
            );
            x += 40 + 8 * name.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::simulate::tests::simulated;

    #[test]
    fn every_cell_is_drawn_and_every_mode_named() {
        let simulation = simulated();
        let svg = simulation.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        // Of 4 rows only one has two modes.
        assert_eq!(svg.matches("crispEdges").count(), 5);
        assert!(svg.contains(">local</text>") && svg.contains(">split</text>"));
        assert!(!svg.contains(">stream</text>"), "it is never chosen");
        assert!(svg.contains("battery at 10 %"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
