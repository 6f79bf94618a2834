//! The paged KV cache's blocks: who holds which, and which prefixes they contain.
//!
//! Memory is handed out in blocks of a fixed number of tokens (PagedAttention, arXiv 2309.06180). A sequence leases all
//! blocks it can ever need when it is admitted, so it never has to be interrupted for memory.
//!
//! A block that has been filled is *registered* under (the registered block before it, its own tokens). Keys are
//! compared whole, not by hash, so a hit is always the same prefix. Registered blocks are shared by sequences with
//! equal beginnings and stay findable after the last one has let go, until their memory is needed: least recently
//! released first, of one sequence the last block first, because it is useless without those before it.

use std::collections::{BTreeMap, HashMap};

use crate::options::KvCache;

/// What a registered block contains: the serial of the block before it (0 for none) and its tokens.
type Key = (u64, Box<[u32]>);

/// All blocks of one cache.
#[derive(Debug)]
pub(crate) struct Blocks {
    size: usize,
    share: bool,
    blocks: Vec<Block>,
    /// Blocks that contain nothing.
    free: Vec<u32>,
    /// Registered blocks nobody holds, by the time of their release.
    idle: BTreeMap<u64, u32>,
    registered: HashMap<Key, u32>,
    /// The latest serial or release time given out.
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// Leases that hold it.
    holders: u32,
    key: Option<Key>,
    /// Names the registered contents; never given out twice.
    serial: u64,
    /// Key in `idle` while nobody holds it.
    released: u64,
}

/// The blocks of one sequence.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// In the order of positions.
    pub(crate) table: Vec<u32>,
    /// Positions whose keys and values were found in the cache.
    pub(crate) cached: usize,
    /// How many blocks of the table have been registered, or found equal to registered ones.
    known: usize,
    /// The serial of the last of these.
    serial: u64,
}

impl Blocks {
    pub(crate) fn new(cache: KvCache, share: bool) -> Self {
        Self {
            size: cache.block_tokens,
            share,
            blocks: vec![Block::default(); cache.blocks],
            free: (0..cache.blocks as u32).rev().collect(),
            idle: BTreeMap::new(),
            registered: HashMap::new(),
            clock: 0,
        }
    }

    /// Blocks a new sequence could have.
    pub(crate) fn available(&self) -> usize {
        self.free.len() + self.idle.len()
    }

    /// Leases blocks for a sequence that starts with `prompt` and may grow to `tokens` tokens; none if there are not
    /// enough now. The second value is a block `(from, to)` to copy before anything is computed.
    ///
    /// At least the prompt's last token is left to compute, for its logits. If its block was found too, the sequence
    /// gets it for itself: a copy, or the block if nobody else holds it.
    pub(crate) fn lease(&mut self, prompt: &[u32], tokens: usize) -> Option<(Lease, Option<(u32, u32)>)> {
        let mut found = self.find(prompt);
        let whole = !found.is_empty() && found.len() * self.size == prompt.len();
        let last = if whole { found.pop() } else { None };
        let taken = last.filter(|&block| self.held(block) == 0);

        let idle = found.iter().filter(|&&block| self.held(block) == 0).count() + usize::from(taken.is_some());
        let fresh = tokens.div_ceil(self.size) - found.len() - usize::from(taken.is_some());
        if self.available() - idle < fresh {
            return None;
        }

        let mut lease = Lease { cached: found.len() * self.size, known: found.len(), ..Lease::default() };
        for &block in &found {
            self.hold(block);
            lease.serial = self.blocks[block as usize].serial;
        }
        lease.table = found;
        if let Some(block) = taken {
            self.hold(block);
            self.forget(block);
            lease.table.push(block);
        }
        for _ in 0..fresh {
            lease.table.push(self.fresh());
        }
        let copy = last.filter(|_| taken.is_none()).map(|from| (from, lease.table[lease.known]));
        if whole {
            lease.cached = prompt.len() - 1;
        }
        Some((lease, copy))
    }

    /// Registers the blocks of `lease` that `computed`, its sequence's first tokens, has filled.
    pub(crate) fn register(&mut self, lease: &mut Lease, computed: &[u32]) {
        if !self.share {
            return;
        }
        for tokens in computed.chunks_exact(self.size).skip(lease.known) {
            let key: Key = (lease.serial, tokens.into());
            let block = lease.table[lease.known];
            // Two sequences that computed the same tokens side by side: the first one's block is the one to find.
            let block = *self.registered.entry(key.clone()).or_insert(block);
            let entry = &mut self.blocks[block as usize];
            if entry.key.is_none() {
                self.clock += 1;
                entry.serial = self.clock;
                entry.key = Some(key);
            }
            lease.serial = entry.serial;
            lease.known += 1;
        }
    }

    /// The blocks of a lease that hold its first `tokens` tokens.
    pub(crate) fn covering<'l>(&self, lease: &'l Lease, tokens: usize) -> &'l [u32] {
        &lease.table[..tokens.div_ceil(self.size)]
    }

    /// Takes the blocks of a sequence back.
    pub(crate) fn release(&mut self, lease: Lease) {
        for &block in lease.table.iter().rev() {
            let entry = &mut self.blocks[block as usize];
            entry.holders -= 1;
            if entry.holders > 0 {
                continue;
            }
            if entry.key.is_none() {
                self.free.push(block);
            } else {
                self.clock += 1;
                entry.released = self.clock;
                self.idle.insert(self.clock, block);
            }
        }
    }

    /// The registered blocks that `prompt` begins with.
    fn find(&self, prompt: &[u32]) -> Vec<u32> {
        let mut serial = 0;
        let mut found = Vec::new();
        for tokens in prompt.chunks_exact(self.size) {
            let Some(&block) = self.registered.get(&(serial, tokens.into())) else { break };
            serial = self.blocks[block as usize].serial;
            found.push(block);
        }
        found
    }

    fn held(&self, block: u32) -> u32 {
        self.blocks[block as usize].holders
    }

    fn hold(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        if entry.holders == 0 {
            self.idle.remove(&entry.released);
        }
        entry.holders += 1;
    }

    fn forget(&mut self, block: u32) {
        if let Some(key) = self.blocks[block as usize].key.take() {
            self.registered.remove(&key);
        }
    }

    /// A block that contains nothing, held once; `lease` has made sure that there is one.
    fn fresh(&mut self) -> u32 {
        let block = self.free.pop().or_else(|| self.idle.pop_first().map(|(_, block)| block));
        let block = block.expect("a lease takes no more blocks than are available");
        self.forget(block);
        self.blocks[block as usize].holders = 1;
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::cache;

    /// Leases, registers and releases a prompt that fills its blocks; returns its lease's table and cached tokens.
    fn visit(blocks: &mut Blocks, prompt: &[u32]) -> (Vec<u32>, usize) {
        let (mut lease, _) = blocks.lease(prompt, prompt.len()).unwrap();
        let told = (lease.table.clone(), lease.cached);
        blocks.register(&mut lease, prompt);
        blocks.release(lease);
        told
    }

    #[test]
    fn a_lease_takes_all_it_can_need_or_nothing() {
        let mut blocks = Blocks::new(cache(4, 4), true);
        let (first, copy) = blocks.lease(&[1], 9).unwrap();
        assert_eq!((first.table.len(), first.cached, copy), (3, 0, None));
        assert!(blocks.lease(&[1], 5).is_none());
        assert_eq!(blocks.available(), 1);
        blocks.release(first);
        assert_eq!(blocks.available(), 4);
    }

    #[test]
    fn a_prefix_is_found_by_all_tokens_before_it() {
        let mut blocks = Blocks::new(cache(16, 2), true);
        visit(&mut blocks, &[1, 2, 3, 4, 5, 6]);
        let cases: [(&[u32], usize); 6] = [
            (&[1, 2, 3, 4, 9, 9], 4),
            (&[1, 2, 9, 9, 5, 6], 2),
            (&[9, 9, 3, 4, 5, 6], 0),
            (&[3, 4, 5, 6, 7], 0),
            (&[1, 2, 3], 2),
            (&[1], 0),
        ];
        for (prompt, cached) in cases {
            let (lease, _) = blocks.lease(prompt, prompt.len()).unwrap();
            assert_eq!(lease.cached, cached, "{prompt:?}");
            blocks.release(lease);
        }
    }

    #[test]
    fn a_held_block_is_copied_a_released_one_is_taken_over() {
        let mut blocks = Blocks::new(cache(5, 2), true);
        let (mut first, _) = blocks.lease(&[1, 2, 3, 4], 4).unwrap();
        blocks.register(&mut first, &[1, 2, 3, 4]);
        let (second, copy) = blocks.lease(&[1, 2, 3, 4], 4).unwrap();
        assert_eq!(copy, Some((first.table[1], second.table[1])));
        assert_eq!((first.table[0], second.cached), (second.table[0], 3));
        let table = first.table.clone();
        blocks.release(first);
        blocks.release(second);
        let (third, copy) = blocks.lease(&[1, 2, 3, 4], 4).unwrap();
        assert_eq!((&third.table, copy), (&table, None));
        let (fourth, _) = blocks.lease(&[1, 2, 3, 4, 5], 5).unwrap();
        assert_eq!(fourth.cached, 2, "while it is written to, nobody else finds it");
    }

    #[test]
    fn a_cache_of_just_one_prompt_can_be_filled_again_and_again() {
        let mut blocks = Blocks::new(cache(2, 2), true);
        for cached in [0, 3, 3] {
            assert_eq!(visit(&mut blocks, &[1, 2, 3, 4]).1, cached);
        }
    }

    #[test]
    fn the_least_recently_released_goes_first_and_tails_before_heads() {
        let mut blocks = Blocks::new(cache(4, 2), true);
        visit(&mut blocks, &[1, 2, 3, 4]);
        visit(&mut blocks, &[5, 6, 7, 8]);
        visit(&mut blocks, &[9]);
        let cached = |blocks: &mut Blocks, prompt: &[u32]| {
            let (lease, _) = blocks.lease(prompt, prompt.len()).unwrap();
            let cached = lease.cached;
            blocks.release(lease);
            cached
        };
        assert_eq!(cached(&mut blocks, &[5, 6, 7, 8, 0]), 4);
        assert_eq!(cached(&mut blocks, &[1, 2, 3, 4, 0]), 2, "[3, 4] gave way to [9]");
    }
}
