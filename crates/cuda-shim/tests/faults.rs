//! What the simulated device finds.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use plimsoll_cuda::{Driver, Launch};
use plimsoll_cuda_shim::{Order, Shim};

fn run(kernel: &'static str, order: Order) -> Result<Vec<u8>, String> {
    let shim = Shim::new(order);
    let memory = shim.allocate(256).unwrap();
    let params = shim.address(&memory).to_ne_bytes();
    let launch = Launch { kernel, grid: [2, 1, 1], threads: 64, shared: 256, params: &params };
    // SAFETY: the device checks what a kernel does.
    unsafe { shim.launch(&launch) }.map_err(|error| error.to_string())?;
    let mut bytes = vec![0; 256];
    shim.read(&memory, 0, &mut bytes).unwrap();
    Ok(bytes)
}

#[test]
fn faults_are_found() {
    let faults = [
        ("fault_race", "a race for shared memory"),
        ("fault_beyond_shared", "beyond the shared memory of the launch"),
        ("fault_beyond_buffer", "a write outside of all allocations"),
        ("fault_two_writers", "two blocks write the same"),
        ("fault_reads_another_block", "a block reads what another writes in the same launch"),
        ("fault_writes_what_another_reads", "a block writes what another reads in the same launch"),
        ("fault_missing_lane", "threads wait for lanes that do not come"),
        ("fault_barrier", "some threads wait at a barrier and others have returned"),
        ("fault_early", "has not waited for the launches ahead"),
        ("fault_never_waits", "returns and has not waited for the launches ahead"),
        ("fault_nobody", "no kernel is called fault_nobody"),
    ];
    for order in [Order::Forward, Order::Backward, Order::Shuffled(5)] {
        for (kernel, message) in faults {
            let error = run(kernel, order).unwrap_err();
            assert!(error.contains(message), "{kernel}: {error}");
        }
        let words: Vec<u8> = (0..64_u32).flat_map(|i| (i ^ 1).to_ne_bytes()).collect();
        assert_eq!(run("fault_none", order).unwrap(), words);
    }
}
