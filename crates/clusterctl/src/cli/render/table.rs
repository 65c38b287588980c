//! Tables: aligned columns without lines, as kubectl prints them.

use comfy_table::{ContentArrangement, Table, presets};

/// Makes a table with a header and rows; a cell is never wrapped.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    text.lines().map(|line| line.trim_start_matches(' ').trim_end().to_owned() + "\n").collect()
}
