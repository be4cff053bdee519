//! Rows in aligned columns.

use unicode_width::UnicodeWidthStr;

/// Rows that the widths of the columns are taken from; what comes after them is not waited for.
const MEASURED_ROWS: usize = 1000;
/// Widest column: what is longer stands out.
const MAX_WIDTH: usize = 40;

/// Puts rows below each other as they come: columns are as wide as in the first thousand rows.
pub struct Table<I: Iterator> {
    rows: std::iter::Peekable<I>,
    measured: std::vec::IntoIter<Vec<String>>,
    widths: Vec<usize>,
}

impl<E, I: Iterator<Item = Result<Vec<String>, E>>> Table<I> {
    /// A table whose first row has the columns' names.
    ///
    /// # Errors
    /// That of the first thousand rows.
    pub fn new(head: Vec<String>, rows: I) -> Result<Table<I>, E> {
        let mut rows = rows.peekable();
        let mut measured = vec![head];
        measured.extend(rows.by_ref().take(MEASURED_ROWS).collect::<Result<Vec<_>, E>>()?);
        let mut widths = Vec::new();
        for row in &measured {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width().min(MAX_WIDTH));
            }
        }
        Ok(Table { rows, measured: measured.into_iter(), widths })
    }
}

impl<E, I: Iterator<Item = Result<Vec<String>, E>>> Iterator for Table<I> {
    type Item = Result<String, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.measured.next() {
            Some(row) => row,
            None => match self.rows.next()? {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            },
        };
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&self.widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 2));
        }
        line.truncate(line.trim_end().len());
        Some(Ok(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["Zürich", "1"]), row(["東京", "22"]), row(["", "3"])];
        let lines = Table::new(row(["city", "n"]), rows.into_iter().map(Ok::<_, ()>)).unwrap();
        let lines: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(lines, ["city    n", "Zürich  1", "東京    22", "        3"]);
    }
}
