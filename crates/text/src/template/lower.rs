//! From minijinja's instructions to ones with Python's operators.
//!
//! Each operator becomes a filter of [`operators`](super::operators); raw text is printed like a value, so that all
//! output passes the formatter, which counts it.

use minijinja::Value;
use minijinja::machinery::{Instruction, Instructions};

use super::methods;

/// Not one of minijinja's cached filters.
const UNCACHED: u8 = !0;

/// A filter of so many arguments.
fn apply(name: &'static str, args: u16) -> Instruction<'static> {
    Instruction::ApplyFilter(name, Some(args), UNCACHED)
}

/// The instructions that stand for one.
fn replacement(instruction: Instruction<'_>) -> Vec<Instruction<'_>> {
    match instruction {
        Instruction::Add => vec![apply("+", 2)],
        Instruction::Mul => vec![apply("*", 2)],
        Instruction::Rem => vec![apply("%", 2)],
        Instruction::StringConcat => vec![apply("~", 2)],
        Instruction::Eq => vec![apply("==", 2)],
        Instruction::Ne => vec![apply("!=", 2)],
        Instruction::Lt => vec![apply("<", 2)],
        Instruction::Lte => vec![apply("<=", 2)],
        Instruction::Gt => vec![apply(">", 2)],
        Instruction::Gte => vec![apply(">=", 2)],
        Instruction::In => vec![apply("in", 2)],
        Instruction::CompareAndPreserve(_) => vec![apply("<<", 1), instruction],
        Instruction::GetAttr(name) if methods::is_method(name) => {
            vec![Instruction::LoadConst(Value::from(name)), apply(".", 2)]
        }
        Instruction::CallMethod("cycle", args) => vec![Instruction::ApplyFilter("()", args, UNCACHED)],
        Instruction::GetItem => vec![apply("[]", 2)],
        Instruction::Slice => vec![apply("[:]", 4)],
        Instruction::PushLoop(_) => vec![apply("for", 1), instruction],
        Instruction::StoreLocal(_) => vec![apply("=", 1), instruction],
        Instruction::SetAttr(name) if name.starts_with('_') => vec![apply("ns", 1), instruction],
        Instruction::SetAttr(_) => vec![Instruction::Swap, apply("=", 1), Instruction::Swap, instruction],
        Instruction::EmitRaw(text) => vec![Instruction::LoadConst(Value::from(text)), Instruction::Emit],
        _ => vec![instruction],
    }
}

/// The instruction an instruction jumps to.
fn target<'a>(instruction: &'a mut Instruction<'_>) -> Option<&'a mut u32> {
    match instruction {
        Instruction::Jump(target)
        | Instruction::JumpIfFalse(target)
        | Instruction::JumpIfFalseOrPop(target)
        | Instruction::JumpIfTrueOrPop(target)
        | Instruction::Iterate(target)
        | Instruction::BuildMacro(_, target, _) => Some(target),
        _ => None,
    }
}

/// Lowers a program; lines and spans stay.
pub(super) fn lower<'source>(program: &Instructions<'source>) -> Instructions<'source> {
    let mut lowered = Instructions::new(program.name(), program.source());
    let mut moved: Vec<u32> = Vec::new();
    let mut end = 0;
    while let Some(instruction) = u32::try_from(moved.len()).ok().and_then(|index| program.get(index)) {
        let index = moved.len() as u32;
        moved.push(end);
        for instruction in replacement(instruction.clone()) {
            end = 1 + match (program.get_span(index), program.get_line(index)) {
                (Some(span), _) => lowered.add_with_span(instruction, span),
                (None, Some(line)) => lowered.add_with_line(instruction, u16::try_from(line).unwrap_or(u16::MAX)),
                (None, None) => lowered.add(instruction),
            };
        }
    }
    moved.push(end);
    for index in 0..end {
        if let Some(target) = lowered.get_mut(index).and_then(target) {
            *target = usize::try_from(*target).ok().and_then(|old| moved.get(old)).copied().unwrap_or(end);
        }
    }
    lowered
}
