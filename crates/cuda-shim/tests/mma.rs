//! Products of tiles of bf16: what tensor cores are taken to do, and what takes their place on GPUs that have none for them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use plimsoll_backend::suite::Rng;
use plimsoll_cuda::{Driver, Launch};
use plimsoll_cuda_shim::{Order, Shim};

/// The bf16 that make up the words of lane `4 g + t`: of a, values 2 t, 2 t + 1 and those eight further of rows g and g + 8 in turn;
/// of b, the same values of column g.
fn place(lane: usize, word: usize, half: usize, of_b: bool) -> (usize, usize) {
    let (line, value) = (lane / 4, lane % 4 * 2 + half);
    if of_b { (line, value + 8 * word) } else { (line + word % 2 * 8, value + word / 2 * 8) }
}

fn words(matrix: &[[f32; 16]], count: usize, of_b: bool) -> Vec<u32> {
    let word = |lane, word| {
        let bits = |half| {
            let (line, value) = place(lane, word, half, of_b);
            matrix[line][value].to_bits() >> 16
        };
        bits(0) | bits(1) << 16
    };
    (0..32).flat_map(|lane| (0..count).map(move |i| word(lane, i))).collect()
}

#[test]
fn tensor_cores_and_what_takes_their_place_multiply_alike() {
    let mut rng = Rng::new(7);
    // Small integers, whose sums are exact.
    let mut matrix = |rows: usize| -> Vec<[f32; 16]> {
        (0..rows).map(|_| std::array::from_fn(|_| rng.below(31) as f32 - 15.0)).collect()
    };
    let (a, b) = (matrix(16), matrix(8));
    for order in [Order::Forward, Order::Backward, Order::Shuffled(5)] {
        let shim = Shim::new(order);
        let [a_words, b_words] = [words(&a, 4, false), words(&b, 2, true)];
        let filled = |bytes: &[u8]| {
            let memory = shim.allocate(bytes.len()).unwrap();
            shim.write(&memory, 0, bytes).unwrap();
            memory
        };
        let memory = [
            filled(bytemuck::cast_slice(&a_words)),
            filled(bytemuck::cast_slice(&b_words)),
            filled(&[0; 512]),
            filled(&[0; 512]),
        ];
        let params = memory.each_ref().map(|memory| shim.address(memory));
        let params = bytemuck::bytes_of(&params);
        // SAFETY: the device checks what a kernel does.
        unsafe { shim.launch(&Launch { kernel: "mma_twice", grid: [1, 1, 1], threads: 32, shared: 0, params }) }
            .unwrap();
        let expected: Vec<f32> = (0..32 * 4)
            .map(|i| {
                let (lane, r) = (i / 4, i % 4);
                let (row, column) = (lane / 4 + r / 2 * 8, lane % 4 * 2 + r % 2);
                let dot: f32 = a[row].iter().zip(&b[column]).map(|(a, b)| a * b).sum();
                r as f32 + 1.0 + dot
            })
            .collect();
        for memory in &memory[2..] {
            let mut found = vec![0.0_f32; 128];
            shim.read(memory, 0, bytemuck::cast_slice_mut(&mut found)).unwrap();
            assert_eq!(found, expected);
        }
    }
}
