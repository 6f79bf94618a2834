// Kernels with a fault each, to see that it is found.

struct Fault {
    // 64 words.
    uint32_t* words;
};

extern __shared__ uint4 shared_memory[];

static uint32_t* shared_words() { return reinterpret_cast<uint32_t*>(shared_memory); }

KERNEL(fault_none, Fault) {
    shim::wait_for_last();
    shared_words()[threadIdx.x] = threadIdx.x;
    __syncthreads();
    const uint32_t other = shared_words()[threadIdx.x ^ 1];
    if (blockIdx.x == 0) p.words[threadIdx.x] = other;
}

KERNEL(fault_race, Fault) {
    shim::wait_for_last();
    shared_words()[threadIdx.x] = threadIdx.x;
    p.words[threadIdx.x] = shared_words()[threadIdx.x ^ 32];
}

KERNEL(fault_beyond_shared, Fault) {
    shim::wait_for_last();
    shared_words()[threadIdx.x + 1] = p.words[0];
}

KERNEL(fault_beyond_buffer, Fault) {
    shim::wait_for_last();
    p.words[threadIdx.x + 1] = 0;
}

KERNEL(fault_two_writers, Fault) {
    shim::wait_for_last();
    p.words[0] = blockIdx.x;
}

KERNEL(fault_reads_another_block, Fault) {
    shim::wait_for_last();
    if (threadIdx.x == 0) p.words[blockIdx.x] = p.words[blockIdx.x ^ 1];
}

KERNEL(fault_writes_what_another_reads, Fault) {
    shim::wait_for_last();
    if (threadIdx.x > 0) return;
    p.words[2 + blockIdx.x] = 0;
    // The first to come reads, the second writes; a counter alone orders nothing.
    if (atomicAdd(p.words + 1, 1) != 0) p.words[4] = p.words[0];
    else p.words[0] = 1;
}

KERNEL(fault_missing_lane, Fault) {
    shim::wait_for_last();
    if (threadIdx.x != 3) p.words[threadIdx.x] = __shfl_xor_sync(0xffffffff, threadIdx.x, 1);
}

KERNEL(fault_barrier, Fault) {
    shim::wait_for_last();
    if (threadIdx.x < 32) __syncthreads();
    if (blockIdx.x > 1) p.words[0] = 0;
}

KERNEL(fault_early, Fault) {
    p.words[threadIdx.x] = 0;
    shim::wait_for_last();
}

KERNEL(fault_never_waits, Fault) {
    if (p.words[0] == blockIdx.x) shim::wait_for_last();
}
