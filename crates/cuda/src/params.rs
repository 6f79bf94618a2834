//! What kernels take, field by field as in `kernels/`. Addresses are 0 for none.

use bytemuck::{Pod, Zeroable};

/// Threads of every block.
pub(crate) const THREADS: u32 = 256;
/// Blocks of a grid in its second and in its third direction, at most.
pub(crate) const GRID: usize = 65_535;
/// Positions of a split of attention.
pub(crate) const SPLIT: usize = 128;
/// Pairs of blocks that a launch copies at most.
pub(crate) const COPIED: usize = 64;

/// A struct that a kernel takes.
pub(crate) trait Params: Pod {
    const KERNEL: &'static str;
}

macro_rules! params {
    ($kernel:literal $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        params!($name { $($field: $type),* });
        impl Params for $name {
            const KERNEL: &'static str = $kernel;
        }
    };
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)*
        }
    };
}

params!(Matrix { codes: u64, high: u64, scales: u64, blocks: u64, bias: u64, format: u32, rows: u32 });
params!(Cache { keys: u64, values: u64, heads: u32, dim: u32, slots: u32, bits: u32 });

params!("embed" Embed { matrix: Matrix, tokens: u64, out: u64, width: u32, scale: f32 });
params!(Matvec {
    matrices: [Matrix; 3],
    x: u64,
    heads: u64,
    rows: u64,
    norm: u64,
    out: u64,
    out_heads: u64,
    count: u32,
    action: u32,
    width: u32,
    columns: u32,
    stride: u32,
    turns: u32,
    eps: f32,
    scale: f32,
    cap: f32,
    padding: u32,
});
params!(Rows { x: u64, rows: u64, norm: u64, codes: u64, heads: u64, width: u32, eps: f32 });
params!(Tile {
    matrices: [Matrix; 3],
    codes: u64,
    heads: u64,
    out: u64,
    action: u32,
    width: u32,
    columns: u32,
    stride: u32,
    scale: f32,
    cap: f32,
});
params!("add_normed" AddNormed { from: u64, x: u64, norm: u64, width: u32, eps: f32 });
params!("append" Append {
    cache: Cache,
    qkv: u64,
    q: u64,
    q_norm: u64,
    k_norm: u64,
    rotation: u64,
    slots: u64,
    rows: u32,
    heads: u32,
    rotated: u32,
    adjacent: u32,
    eps: f32,
    padding: u32,
});
params!(Qkv { product: Matvec, append: Append });
params!(Attend {
    cache: Cache,
    q: u64,
    y: u64,
    positions: u64,
    tables: u64,
    blocks: u64,
    work: u64,
    range: u64,
    heads: u32,
    block: u32,
    window: u32,
    scale: f32,
});
params!(AttendRow { attend: Attend, partial: u64, tickets: u64 });
params!(AttendTile { attend: Attend, rows: u32, heads: u32, queries: u32, padding: u32 });
params!("widen_matrix" WidenMatrix { matrix: Matrix, out: u64, width: u32, stride: u32 });
params!("widen_rows" WidenRows { x: u64, rows: u64, norm: u64, out: u64, width: u32, stride: u32, eps: f32, padding: u32 });
params!("finish" Finish {
    matrices: [Matrix; 3],
    from: u64,
    out: u64,
    count: u32,
    action: u32,
    from_stride: u32,
    stride: u32,
});
params!("top" Top {
    logits: u64,
    draws: u64,
    parts: u64,
    tickets: u64,
    found: u64,
    vocab: u32,
    padding: u32,
});
params!("copy_blocks" CopyBlocks { cache: Cache, pairs: [[u32; 2]; COPIED], count: u32, block: u32 });

/// Kernels that take the same.
macro_rules! kernels {
    ($params:ident: $($kernel:literal $name:ident)*) => {$(
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        pub(crate) struct $name(pub(crate) $params);

        impl Params for $name {
            const KERNEL: &'static str = $kernel;
        }
    )*};
}

kernels!(Matvec: "matvec_1" Matvec1 "matvec_4" Matvec4);
kernels!(Qkv: "qkv_1" Qkv1 "qkv_4" Qkv4);
kernels!(AttendRow: "attend_4" Attend4 "attend_8" Attend8);
kernels!(AttendTile: "attend_tile_64" AttendTile64 "attend_tile_128" AttendTile128);
kernels!(Rows: "round_rows" RoundRows "split_rows" SplitRows);
kernels!(Tile: "tile_16" Tile16 "tile_64" Tile64 "float_tile_16" FloatTile16 "float_tile_64" FloatTile64);

/// A kernel, and how many bytes it takes.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    pub(crate) params: usize,
}

const fn kernel<P: Params>() -> Kernel {
    Kernel { name: P::KERNEL, params: size_of::<P>() }
}

/// All of them.
pub(crate) const KERNELS: &[Kernel] = &[
    kernel::<Embed>(),
    kernel::<Matvec1>(),
    kernel::<Matvec4>(),
    kernel::<Qkv1>(),
    kernel::<Qkv4>(),
    kernel::<RoundRows>(),
    kernel::<SplitRows>(),
    kernel::<Tile16>(),
    kernel::<Tile64>(),
    kernel::<FloatTile16>(),
    kernel::<FloatTile64>(),
    kernel::<AddNormed>(),
    kernel::<Append>(),
    kernel::<Attend4>(),
    kernel::<Attend8>(),
    kernel::<AttendTile64>(),
    kernel::<AttendTile128>(),
    kernel::<CopyBlocks>(),
    kernel::<WidenMatrix>(),
    kernel::<WidenRows>(),
    kernel::<Finish>(),
    kernel::<Top>(),
];
