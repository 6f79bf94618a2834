//! A plan as the kernels read it: all of it in one buffer that stays where it is, so that launches can be repeated.

use std::cell::RefCell;
use std::collections::HashMap;

use plimsoll_backend::{CacheShape, Error, Plan};
use plimsoll_model::{Decoder, Mixer, Mlp, Rope, RopeTable, Ropes};

use crate::device::{Buffer, Device, Graph};
use crate::driver::Driver;
use crate::fast::{self as by_library, Fast};
use crate::params::SPLIT;
use crate::tile::rounded_bytes;
use crate::top::{self, Found};

/// Rows of a step that is repeated, and tokens of each of its sequences, at most: beyond them launches are not what costs time.
const REPEATED: usize = 256;
const DECODED: usize = 8;
/// Token and cache slot of a row that is only there to fill up.
const NONE: u32 = u32::MAX;

/// One step's tokens, their places and their rotations.
pub struct Batch<D: Driver> {
    metadata: Buffer<D>,
    /// What is copied there.
    words: Vec<u32>,
    /// Rows of a product that is not added to anything at once.
    pub(crate) wide: Buffer<D>,
    /// Rows that a product reads, in eight bits.
    pub(crate) rounded: Buffer<D>,
    /// A counter of each row and kv head, zero between launches.
    pub(crate) tickets: Buffer<D>,
    fast: Option<Fast<D>>,
    graphs: RefCell<HashMap<Size, Option<Graph<D>>>>,
    /// The step's, if it can be repeated.
    size: Option<Size>,
    pub(crate) rows: usize,
    pub(crate) output_rows: usize,
    /// How many of these the plan has.
    pub(crate) wanted: usize,
    /// The largest number of positions that a token sees.
    pub(crate) longest: usize,
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
}

/// Steps of one size are the same launches.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Size {
    rows: usize,
    /// Of the longest sequence.
    splits: usize,
}

/// So many rows, filled up so that there are few sizes.
pub(crate) fn filled(rows: usize) -> usize {
    if rows <= 4 { rows } else { rows.next_multiple_of(8) }
}

impl Size {
    /// Of a step in which every row is a token of a decoding sequence.
    fn of(plan: &Plan) -> Option<Self> {
        let rows = plan.tokens.len();
        let decoded = plan.sequences.iter().all(|sequence| sequence.len <= DECODED);
        let splits = plan.sequences.iter().map(|sequence| sequence.end().div_ceil(SPLIT)).max().unwrap_or(0);
        (rows <= REPEATED && plan.outputs.len() == rows && decoded).then(|| Self { rows: filled(rows), splits })
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

fn kv_heads(decoder: &Decoder) -> usize {
    let heads = decoder.layers.iter().map(|layer| {
        let Mixer::Gqa(gqa) = &layer.mixer;
        gqa.kv_heads
    });
    heads.max().unwrap_or(0)
}

/// Words of plans of so many rows at most; every part may begin a word later.
fn room(decoder: &Decoder, ropes: &Ropes, rows: usize, outputs: usize, cache: CacheShape) -> usize {
    let rotations: usize = ropes.iter().map(|(rope, _)| rows * rope.dim + 1).sum();
    let tables = rows * decoder.context.div_ceil(cache.block);
    4 * (rows + 1) + (outputs + 1) + (2 * outputs + 1) + rotations + (tables + 1)
}

/// Bytes of every buffer of a batch.
struct Sizes {
    metadata: usize,
    wide: usize,
    rounded: usize,
    tickets: usize,
}

impl Sizes {
    /// For plans of so many rows and outputs at most, filled up.
    fn new(decoder: &Decoder, ropes: &Ropes, (rows, outputs): (usize, usize), cache: CacheShape) -> Self {
        Self {
            metadata: room(decoder, ropes, rows, outputs, cache) * 4,
            wide: rows * widest(decoder) * 4,
            rounded: rounded_bytes(rows, widest_read(decoder)),
            tickets: rows * kv_heads(decoder) * 4,
        }
    }
}

/// Bytes of every buffer for plans of so many rows and outputs at most.
pub(crate) fn bytes(decoder: &Decoder, (rows, outputs): (usize, usize), cache: CacheShape, fast: bool) -> Vec<usize> {
    let (rows, outputs) = (filled(rows), filled(outputs));
    let Sizes { metadata, wide, rounded, tickets } = Sizes::new(decoder, &Ropes::new(decoder), (rows, outputs), cache);
    let mut bytes = vec![metadata, wide, rounded, tickets];
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
    ) -> Result<Self, Error> {
        let (rows, outputs) = (filled(rows), filled(outputs));
        let Sizes { metadata, wide, rounded, tickets } = Sizes::new(decoder, ropes, (rows, outputs), cache);
        Ok(Self {
            metadata: device.zeros(metadata)?,
            words: Vec::with_capacity(metadata / 4),
            wide: device.zeros(wide)?,
            rounded: device.buffer(rounded)?,
            tickets: device.zeros(tickets)?,
            fast: fast.then(|| Fast::new(device, decoder, rows)).transpose()?,
            graphs: RefCell::default(),
            size: None,
            rows: 0,
            output_rows: 0,
            wanted: 0,
            longest: 0,
            tokens: 0,
            positions: 0,
            slots: 0,
            tables: 0,
            blocks: 0,
            outputs: 0,
            draws: 0,
            found: Found::new(device, decoder.vocab, outputs)?,
            rotations: vec![],
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
        self.size = Size::of(plan);
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
        self.longest = positions.iter().map(|position| *position as usize + 1).max().unwrap_or(0);
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
        let rotation = |(_, table): &(Rope, RopeTable)| -> Vec<u32> {
            let pairs = positions.iter().flat_map(|position| table.rotation(*position as usize));
            pairs.flat_map(|(cos, sin)| [cos.to_bits(), sin.to_bits()]).collect()
        };
        let mut rotations = |rope| {
            let values = rotation(rope);
            part(&values, values.len(), 0)
        };
        self.rotations = ropes.iter().map(&mut rotations).collect();
        // Last, for their length is not that of other steps of the size.
        self.blocks = part(&blocks, blocks.len(), 0);
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
}
