//! Random numbers that can be had again: what was done by chance is done again
//! from the same seed (SplitMix64; Steele, Lea and Flood, OOPSLA 2014).

/// A source of random numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Yes in `part` of 100 cases.
    pub fn chance(&mut self, part: u64) -> bool {
        self.below(100) < part
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        let numbers: Vec<u64> = (0..100).map(|_| one.below(10)).collect();
        assert!((0..100).all(|at| other.below(10) == numbers[at]));
        assert!((0..10).all(|number| numbers.contains(&number)));
        assert!((0..100).all(|_| one.chance(100) && !other.chance(0)));
    }
}
