//! A plan as the kernels read it: all of it in one buffer that stays where it is, so that launches can be repeated.

use std::cell::RefCell;
use std::collections::HashMap;

use plimsoll_backend::{CacheShape, Error, Plan};
use plimsoll_model::{Decoder, Mixer, Mlp, Rope, RopeTable, Ropes};

use crate::device::{Buffer, Device, Graph};
use crate::driver::Driver;
use crate::fast::{self as by_library, Fast};
use crate::tile::read_bytes;
use crate::top::{self, Found};
use crate::work::{self, Work};

/// Rows of a step that is repeated at most: beyond them launches are not what costs time.
const REPEATED: usize = 256;
/// Token and cache slot of a row that is only there to fill up.
const NONE: u32 = u32::MAX;

/// One step's tokens, their places and their rotations.
pub struct Batch<D: Driver> {
    metadata: Buffer<D>,
    /// What is copied there.
    words: Vec<u32>,
    /// Rows of a product that is not added to anything at once.
    pub(crate) wide: Buffer<D>,
    /// Rows that a product reads, as tensor cores take them.
    pub(crate) read: Buffer<D>,
    fast: Option<Fast<D>>,
    graphs: RefCell<HashMap<Size, Option<Graph<D>>>>,
    /// The step's, if it can be repeated.
    size: Option<Size>,
    pub(crate) rows: usize,
    pub(crate) output_rows: usize,
    /// How many of these the plan has.
    pub(crate) wanted: usize,
    /// Token ids, their positions, cache slots, and where the block table of each begins, `[T]` each.
    pub(crate) tokens: u64,
    pub(crate) positions: u64,
    pub(crate) slots: u64,
    pub(crate) tables: u64,
    /// Block tables, one behind the other.
    pub(crate) blocks: u64,
    /// Rows whose logits are wanted, `[R]`.
    pub(crate) outputs: u64,
    /// How tokens behind them are drawn: temperature, and the first id that is not, `[R]`.
    pub(crate) draws: u64,
    pub(crate) found: Found<D>,
    /// Cosine and sine, `[T, dim / 2]`, of each of the model's rotary embeddings.
    pub(crate) rotations: Vec<u64>,
    /// Of attention, for each number of positions that layers of the model see.
    work: Vec<Placed>,
    /// Items of a launch of attention at most.
    capacity: usize,
}

/// Where a step's work of attention is.
#[derive(Default)]
pub(crate) struct Placed {
    window: usize,
    /// Bounds of the launches and of tiles, as numbers of pairs from the beginning of the plan.
    pub(crate) bounds: u64,
    pub(crate) launches: usize,
    pub(crate) tiled: bool,
}

/// Steps of one size are the same launches.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Size {
    rows: usize,
}

/// So many rows, filled up so that there are few sizes.
pub(crate) fn filled(rows: usize) -> usize {
    if rows <= 4 { rows } else { rows.next_multiple_of(8) }
}

impl Size {
    /// Of a step in which every row is a token of a decoding sequence, whose attention is one launch.
    fn of(plan: &Plan, works: &[Work]) -> Option<Self> {
        let rows = plan.tokens.len();
        let one_by_one = works.iter().all(|work| work.launches() == 1 && !work.tiled());
        (rows <= REPEATED && plan.outputs.len() == rows && one_by_one).then(|| Self { rows: filled(rows) })
    }
}

/// Values of the widest rows between two launches.
fn widest(decoder: &Decoder) -> usize {
    let qkv = decoder.layers.iter().map(|layer| {
        let Mixer::Gqa(gqa) = &layer.mixer;
        gqa.q_width() + 2 * gqa.kv_width()
    });
    qkv.max().unwrap_or(0).max(decoder.width)
}

/// Values of the widest rows that a product reads.
fn widest_read(decoder: &Decoder) -> usize {
    let inner = decoder.layers.iter().map(|layer| {
        let (Mixer::Gqa(gqa), Mlp::Dense(ffn)) = (&layer.mixer, &layer.mlp);
        gqa.q_width().max(ffn.width)
    });
    inner.max().unwrap_or(0).max(decoder.width)
}

/// Words of plans of so many rows at most; every part may begin a word later.
fn room(decoder: &Decoder, ropes: &Ropes, rows: usize, outputs: usize, cache: CacheShape) -> usize {
    let rotations: usize = ropes.iter().map(|(rope, _)| rows * rope.dim + 1).sum();
    let tables = rows * decoder.context.div_ceil(cache.block);
    let work = work::windows(decoder).into_iter().map(|window| {
        let (bounds, list) = work::room(window, decoder.context, rows);
        bounds + 1 + list + 1
    });
    4 * (rows + 1) + (outputs + 1) + (2 * outputs + 1) + rotations + (tables + 1) + work.sum::<usize>()
}

/// Bytes of every buffer of a batch.
struct Sizes {
    metadata: usize,
    wide: usize,
    read: usize,
}

impl Sizes {
    /// For plans of so many rows and outputs at most, filled up.
    fn new(decoder: &Decoder, ropes: &Ropes, (rows, outputs): (usize, usize), cache: CacheShape) -> Self {
        Self {
            metadata: room(decoder, ropes, rows, outputs, cache) * 4,
            wide: rows * widest(decoder) * 4,
            read: read_bytes(rows, widest_read(decoder)),
        }
    }
}

/// Bytes of every buffer for plans of so many rows and outputs at most.
pub(crate) fn bytes(decoder: &Decoder, (rows, outputs): (usize, usize), cache: CacheShape, fast: bool) -> Vec<usize> {
    let (rows, outputs) = (filled(rows), filled(outputs));
    let Sizes { metadata, wide, read } = Sizes::new(decoder, &Ropes::new(decoder), (rows, outputs), cache);
    let mut bytes = vec![metadata, wide, read];
    bytes.extend(top::bytes(decoder.vocab, outputs));
    bytes.extend(fast.then(|| by_library::bytes(decoder, rows)).into_iter().flatten());
    bytes
}

impl<D: Driver> Batch<D> {
    /// Room for plans of at most so many rows and outputs; `fast` is for products by a library.
    pub(crate) fn new(
        device: &Device<D>,
        decoder: &Decoder,
        ropes: &Ropes,
        (rows, outputs): (usize, usize),
        cache: CacheShape,
        fast: bool,
        capacity: usize,
    ) -> Result<Self, Error> {
        let (rows, outputs) = (filled(rows), filled(outputs));
        let Sizes { metadata, wide, read } = Sizes::new(decoder, ropes, (rows, outputs), cache);
        Ok(Self {
            metadata: device.zeros(metadata)?,
            words: Vec::with_capacity(metadata / 4),
            wide: device.zeros(wide)?,
            read: device.buffer(read)?,
            fast: fast.then(|| Fast::new(device, decoder, rows)).transpose()?,
            graphs: RefCell::default(),
            size: None,
            rows: 0,
            output_rows: 0,
            wanted: 0,
            tokens: 0,
            positions: 0,
            slots: 0,
            tables: 0,
            blocks: 0,
            outputs: 0,
            draws: 0,
            found: Found::new(device, decoder.vocab, outputs)?,
            rotations: vec![],
            work: work::windows(decoder).into_iter().map(|window| Placed { window, ..Default::default() }).collect(),
            capacity,
        })
    }

    /// Takes a plan that has been checked.
    pub(crate) fn set(
        &mut self,
        device: &Device<D>,
        plan: &Plan,
        cache: CacheShape,
        ropes: &Ropes,
    ) -> Result<(), Error> {
        let works: Vec<Work> = self.work.iter().map(|placed| Work::new(plan, placed.window, self.capacity)).collect();
        self.size = Size::of(plan, &works);
        self.rows = self.size.map_or(plan.tokens.len(), |size| size.rows);
        self.output_rows = self.size.map_or(plan.outputs.len(), |size| size.rows);
        self.wanted = plan.outputs.len();
        let (mut positions, mut slots, mut tables, mut blocks) = (vec![], vec![], vec![], vec![]);
        for sequence in &plan.sequences {
            for position in sequence.start..sequence.end() {
                positions.push(position as u32);
                slots.push(sequence.slot(position, cache.block) as u32);
                tables.push(blocks.len() as u32);
            }
            blocks.extend_from_slice(&sequence.block_table[..sequence.end().div_ceil(cache.block)]);
        }
        positions.resize(self.rows, 0);

        let draw = |output| plan.draws.get(output).copied().unwrap_or_default();
        let draws = (0..plan.outputs.len()).map(draw).flat_map(|draw| [draw.temperature.to_bits(), draw.vocab]);
        let draws: Vec<u32> = draws.collect();

        let (words, base) = (&mut self.words, self.metadata.address);
        words.clear();
        // So many words, behind those there are: pairs are read as one.
        let mut part = |values: &[u32], len: usize, filler: u32| {
            words.resize(words.len().next_multiple_of(2), 0);
            let start = words.len();
            words.extend_from_slice(values);
            words.resize(start + len, filler);
            base + start as u64 * 4
        };
        self.tokens = part(&plan.tokens, self.rows, NONE);
        self.positions = part(&positions, self.rows, 0);
        self.slots = part(&slots, self.rows, NONE);
        self.tables = part(&tables, self.rows, 0);
        self.outputs = part(&plan.outputs, self.output_rows, 0);
        self.draws = part(&draws, 2 * self.output_rows, 0);
        for (placed, work) in self.work.iter_mut().zip(&works) {
            (placed.launches, placed.tiled) = (work.launches(), work.tiled());
            placed.bounds = part(&work.bounds, work.bounds.len(), 0);
        }
        let rotation = |(_, table): &(Rope, RopeTable)| -> Vec<u32> {
            let pairs = positions.iter().flat_map(|position| table.rotation(*position as usize));
            pairs.flat_map(|(cos, sin)| [cos.to_bits(), sin.to_bits()]).collect()
        };
        let mut rotations = |rope| {
            let values = rotation(rope);
            part(&values, values.len(), 0)
        };
        self.rotations = ropes.iter().map(&mut rotations).collect();
        // Last, for their length is not that of other steps of the size. Bounds are set to where lists come to lie.
        self.blocks = part(&blocks, blocks.len(), 0);
        let lists = works.iter().map(|work| part(work.list.as_flattened(), 2 * work.list.len(), 0));
        let lists: Vec<u64> = lists.collect();
        for ((placed, work), list) in self.work.iter().zip(&works).zip(lists) {
            let (at, first) = ((placed.bounds - base) as usize / 4, (list - base) as u32 / 8);
            words[at..][..work.bounds.len()].iter_mut().for_each(|bound| *bound += first);
        }
        device.write(&mut self.metadata, &self.words)
    }

    /// What a library may do products with: none in a step that is repeated, whose bits depend on nothing but its tokens.
    pub(crate) fn fast(&self) -> Option<&Fast<D>> {
        self.fast.as_ref().filter(|_| self.size.is_none())
    }

    /// Runs what `record` launches: at once for the first step of a size, which loads kernels, then as a graph.
    pub(crate) fn step(&self, device: &Device<D>, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<(), Error> {
        let Some(size) = self.size else { return record() };
        let mut graphs = self.graphs.borrow_mut();
        let Some(graph) = graphs.get_mut(&size) else {
            record()?;
            graphs.insert(size, None);
            return Ok(());
        };
        if graph.is_none() {
            *graph = Some(device.capture(record)?);
        }
        graph.as_ref().map_or(Ok(()), |graph| device.replay(graph))
    }

    /// Attention's work in layers that see so many positions.
    pub(crate) fn work(&self, window: usize) -> &Placed {
        self.work.iter().find(|placed| placed.window == window).expect("a window of the model")
    }

    /// What bounds count from.
    pub(crate) fn lists(&self) -> u64 {
        self.metadata.address
    }
}
