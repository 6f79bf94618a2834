//! What the compiler says about every kernel on every processor, as lines of text.

use std::fmt::Write;
use std::path::Path;

use super::{output, tool};
use crate::Result;

const HEAD: &str = "# Made by `cargo xtask kernels`. Bytes a block has of shared memory before a launch adds to it, bytes a thread has of local
# memory, which are spills or arrays that do not fit registers, and bytes of parameters.
processor kernel           registers  shared  local  parameters
";

/// A kernel on a processor.
#[derive(Default)]
struct Row {
    processor: String,
    kernel: String,
    registers: usize,
    shared: usize,
    local: usize,
    parameters: usize,
}

/// The table of an image.
pub(super) fn table(home: &Path, image: &Path) -> Result<String> {
    let mut rows = rows(&output(tool(home, "cuobjdump").args(["-elf", "-res-usage"]).arg(image))?)?;
    // Compilers number kernels as they like; processors are in the order of the image.
    let order: Vec<String> = rows.iter().map(|row| row.processor.clone()).collect();
    rows.sort_by_key(|row| (order.iter().position(|other| *other == row.processor), row.kernel.clone()));
    let mut text = HEAD.to_string();
    for Row { processor, kernel, registers, shared, local, parameters } in rows {
        writeln!(text, "{processor:9} {kernel:16} {registers:9} {shared:7} {local:6} {parameters:11}")?;
    }
    Ok(text)
}

/// Reads what `cuobjdump` prints of each processor: sections with the sizes of parameters, then what each function takes.
fn rows(text: &str) -> Result<Vec<Row>> {
    let (mut rows, mut parameters) = (Vec::new(), Vec::new());
    let (mut processor, mut section, mut function) = ("", "", "");
    for line in text.lines() {
        if let Some(found) = line.strip_prefix("arch = ") {
            processor = found;
            parameters.clear();
        } else if let Some(found) = line.strip_prefix(".nv.info.") {
            section = found;
        } else if let Some((_, size)) =
            line.split_once("Ordinal : 0x0").and_then(|(_, rest)| rest.split_once("Size    : 0x"))
        {
            parameters.push((section, usize::from_str_radix(size.trim(), 16)?));
        } else if let Some(found) = line.strip_prefix(" Function ") {
            function = found.trim_end_matches(':');
        } else if line.starts_with("  REG:") {
            let value = |name: &str| -> Result<usize> {
                let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
                Ok(word.ok_or_else(|| format!("no {name} in `{line}`"))?.parse()?)
            };
            let of_function = parameters.iter().find(|(kernel, _)| *kernel == function);
            rows.push(Row {
                processor: processor.into(),
                kernel: function.into(),
                registers: value("REG")?,
                shared: value("SHARED")?,
                local: value("STACK")? + value("LOCAL")?,
                parameters: of_function.ok_or_else(|| format!("no parameters of {function}"))?.1,
            });
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_what_is_printed() {
        let text = "arch = sm_90a\n.nv.info.embed\n\tValue:\tIndex : 0x0\tOrdinal : 0x0\tOffset  : 0x0\tSize    : 0x48\n \
                    Function embed:\n  REG:56 STACK:8 SHARED:1024 LOCAL:4 CONSTANT[0]:600\n";
        let rows = rows(text).unwrap();
        let [Row { processor, kernel, registers: 56, shared: 1024, local: 12, parameters: 0x48 }] = &rows[..] else {
            panic!("{} rows", rows.len());
        };
        assert_eq!((&processor[..], &kernel[..]), ("sm_90a", "embed"));
    }
}
