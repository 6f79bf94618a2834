//! What the compiler made of the kernels, instruction by instruction, held to limits.

use std::fs;
use std::path::Path;

use super::{compile_for, output, tool};
use crate::Result;

/// What a decoding step waits for: products of one column.
const DECODE: &str = "matvec_1";
/// Instructions of its inner loop for 32 weights of a lane, at most, by the format they are stored in, and which of them, how
/// many of them, multiply those: by four, or by tiles of sixteen rows that a warp has.
const LIMITS: &[(&str, (&str, usize), usize)] = &[
    ("F32", ("HMMA", 16), 275),
    ("F16", ("HMMA", 12), 210),
    ("BF16", ("HMMA", 8), 75),
    ("Q8_0", ("IDP", 8), 32),
    ("Q4_0", ("IDP", 8), 40),
    ("MXFP4", ("IDP", 8), 88),
    ("Q4_K", ("IDP", 8), 66),
    ("Q5_K", ("IDP", 8), 77),
    ("Q6_K", ("IDP", 8), 67),
];
/// Kernels whose names begin so multiply matrices by the instruction for it.
const TILES: &[(&str, &str)] = &[("tile", "IMMA"), ("float_tile", "HMMA")];
/// What is looked at.
const PROCESSOR: &str = "90a";

/// Prints what products cost, and fails where it is more than allowed. Compiles beside the image.
pub(super) fn check(home: &Path, folder: &Path, image: &Path) -> Result<()> {
    for (format, multiplying, limit) in LIMITS {
        let (source, cubin) = (image.with_extension("cu"), image.with_extension("cubin"));
        // The kernel with one format in place of all.
        let one = format!(
            "#include \"format.cuh\"\n#define with_format(format, f) (f).template run<{format}>()\n#include \"matvec.cu\"\n"
        );
        fs::write(&source, one)?;
        compile_for(home, folder, &source, &cubin, PROCESSOR)?;
        let text = output(tool(home, "cuobjdump").arg("-sass").arg(&cubin))?;
        let found = functions(&text).into_iter().find(|function| function.name == DECODE);
        let found = found
            .and_then(|function| function.group(*multiplying))
            .ok_or_else(|| format!("no loop over {format} in {DECODE}"))?;
        println!("{DECODE}: {format}: {found} instructions for 32 weights, at most {limit}");
        if found > *limit {
            return Err(format!(
                "{DECODE} takes {found} instructions for 32 weights of {format}, expected {limit} at most"
            )
            .into());
        }
    }
    let text = output(tool(home, "cuobjdump").args(["-sass", "-arch"]).arg(format!("sm_{PROCESSOR}")).arg(image))?;
    for (start, kind) in TILES {
        for function in functions(&text).iter().filter(|function| function.name.starts_with(start)) {
            let count = count(&function.instructions, kind);
            println!("{}: {count} of {kind}", function.name);
            if count == 0 {
                return Err(format!("{} has no {kind}", function.name).into());
            }
        }
    }
    Ok(())
}

/// A kernel's machine code.
struct Function<'a> {
    name: &'a str,
    instructions: Vec<Instruction<'a>>,
}

struct Instruction<'a> {
    address: usize,
    text: &'a str,
}

impl Instruction<'_> {
    /// Whether it is of a kind, predicated or not.
    fn is(&self, kind: &str) -> bool {
        let mut words = self.text.split_whitespace().filter(|word| !word.starts_with('@'));
        words
            .next()
            .is_some_and(|word| word == kind || word.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Where a branch goes.
    fn target(&self) -> Option<usize> {
        let (_, target) = self.text.rsplit_once(" 0x").filter(|_| self.is("BRA"))?;
        usize::from_str_radix(target, 16).ok()
    }
}

/// Functions in what `cuobjdump -sass` prints.
fn functions(text: &str) -> Vec<Function<'_>> {
    let mut functions: Vec<Function<'_>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("Function : ") {
            functions.push(Function { name, instructions: Vec::new() });
        } else if let (Some(function), Some((address, text))) = (functions.last_mut(), instruction(line)) {
            function.instructions.push(Instruction { address, text });
        }
    }
    functions
}

/// `/*01f0*/ @P0 BRA 0x120 ; /* encoding */`: its address and text.
fn instruction(line: &str) -> Option<(usize, &str)> {
    let (address, rest) = line.strip_prefix("/*")?.split_once("*/")?;
    let (text, _) = rest.split_once(';')?;
    Some((usize::from_str_radix(address, 16).ok()?, text.trim()))
}

impl Function<'_> {
    /// Instructions for 32 weights in the loop that multiplies, the shortest of those that hold so many of a kind for them; a few
    /// more of that kind, for sums of activations, make no further weights.
    fn group(&self, (kind, each): (&str, usize)) -> Option<usize> {
        let multiplying = self.loops().map(|body| (body.len(), count(body, kind) / each));
        let found = multiplying.filter(|(_, groups)| *groups > 0).min();
        found.map(|(instructions, groups)| instructions.div_ceil(groups))
    }

    /// What lies between a branch back and its target.
    fn loops(&self) -> impl Iterator<Item = &[Instruction<'_>]> {
        self.instructions.iter().enumerate().filter_map(|(end, branch)| {
            let target = branch.target().filter(|target| *target < branch.address)?;
            let start = self.instructions.iter().position(|instruction| instruction.address == target)?;
            self.instructions.get(start..=end)
        })
    }
}

/// How many instructions of a kind there are.
fn count(body: &[Instruction<'_>], kind: &str) -> usize {
    body.iter().filter(|instruction| instruction.is(kind)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_loop_that_multiplies_is_counted() {
        let dots = |from: usize| -> String {
            (0..9).map(|i| format!("/*{:04x}*/ IDP.4A.S8.S8 R1, R2, R3, R1 ; /* 0x0 */\n", from + i)).collect()
        };
        let text = format!(
            "Function : other\n/*0000*/ EXIT ;\nFunction : matvec_1\n/*0000*/ MOV R1, RZ ;\n{}/*0018*/ IADD3 R1, R1, R2, RZ ;\n\
             /*0019*/ @!P0 BRA 0x1 ;\n/*001a*/ @P1 BRA 0x0 ;\n/*001b*/ BRA 0x1b ;\n",
            dots(1),
        );
        let functions = functions(&text);
        assert_eq!(functions.iter().map(|function| function.name).collect::<Vec<_>>(), ["other", "matvec_1"]);
        assert_eq!(functions[1].group(("IDP", 8)), Some(11));
        assert_eq!(functions[0].group(("IDP", 8)), None);
    }
}
