//! Random numbers that can be repeated.

/// A generator of 64 bits of state: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Its state after `k` numbers is the
/// seed plus `k` times a constant, so every state is as good as any other, and none has to be refused.
///
/// Not cryptographic: a few numbers reveal the next.
pub struct Random {
    state: u64,
    /// How many ids are allocated.
    pub allocated: u64,
}

impl Random {
    /// Starts at a seed, with no id allocated.
    pub fn new(seed: u64) -> Self {
        Random { state: seed, allocated: 0 }
    }

    /// The seed with which it would continue from here.
    pub fn state(&self) -> u64 {
        self.state
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, each as likely as the others (Lemire, "Fast random integer generation in an interval").
    pub fn below(&mut self, limit: u64) -> u64 {
        loop {
            let product = u128::from(self.next()) * u128::from(limit);
            let low = product as u64;
            // The least products of some numbers occur once too often; how many, is 2^64 modulo the limit.
            if low >= limit || low >= limit.wrapping_neg() % limit {
                return (product >> 64) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        let first = [random.next(), random.next(), random.next()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn each_number_below_a_limit_is_as_likely_as_the_others() {
        let mut random = Random::new(1);
        let mut counts = [0_u32; 7];
        (0..70_000).for_each(|_| counts[random.below(7) as usize] += 1);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert!((0..1000).all(|_| random.below(3 << 62) < 3 << 62));
        assert_eq!(random.below(1), 0);
    }
}
