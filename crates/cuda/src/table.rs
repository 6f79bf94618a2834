//! Holds the table of the compiled kernels against what launches them.

use crate::params::{KERNELS, THREADS};

const TABLE: &str = include_str!("../kernels/kernels.txt");
const PROCESSORS: &[&str] = &["sm_75", "sm_80", "sm_89", "sm_90a", "sm_100", "sm_120"];
/// Registers of a block.
const REGISTERS: usize = 65_536;
/// Shared memory that newer processors keep of each block, beside what it can have.
const RESERVED: usize = 1024;
/// Kernels that spill on some processor, words that inner loops do not touch, and how many bytes at most: the others have no
/// local memory.
const LOCAL: &[(&str, usize)] =
    &[("attend_tile_128", 8), ("matvec_1", 16), ("matvec_4", 16), ("qkv_1", 8), ("qkv_4", 8)];

/// Processor and kernel, then registers of a thread, and bytes of shared and local memory and of parameters.
fn rows() -> Vec<(&'static str, &'static str, [usize; 4])> {
    let lines = TABLE.lines().skip_while(|line| !line.starts_with("processor")).skip(1);
    let row = |line: &'static str| {
        let mut words = line.split_whitespace();
        let names = (words.next().unwrap(), words.next().unwrap());
        let numbers: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
        (names.0, names.1, numbers.try_into().unwrap())
    };
    lines.map(row).collect()
}

#[test]
fn every_kernel_is_compiled_for_every_processor_and_takes_its_struct() {
    let rows = rows();
    assert_eq!(rows.len(), KERNELS.len() * PROCESSORS.len());
    for processor in PROCESSORS {
        for kernel in KERNELS {
            let row = rows.iter().find(|row| (row.0, row.1) == (*processor, kernel.name));
            let [.., parameters] = row.unwrap_or_else(|| panic!("no {} for {processor}", kernel.name)).2;
            assert_eq!(parameters, kernel.params, "{} on {processor}", kernel.name);
        }
    }
}

#[test]
fn a_block_fits_every_processor() {
    for (processor, kernel, [registers, shared, local, _]) in rows() {
        // In units of eight a thread.
        let registers = registers.next_multiple_of(8) * THREADS as usize;
        assert!(registers <= REGISTERS, "{kernel} on {processor}: {registers} registers");
        // Launches size all of it themselves, and loading a model holds that against what the device has.
        assert!(shared == 0 || shared == RESERVED, "{kernel} on {processor}: {shared} bytes of shared memory");
        let allowed = LOCAL.iter().find(|(name, _)| *name == kernel).map_or(0, |(_, bytes)| *bytes);
        assert!(local <= allowed, "{kernel} on {processor}: {local} bytes of local memory");
    }
}
