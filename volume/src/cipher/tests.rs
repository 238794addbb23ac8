//! Known answers of the standards, and everything else beside another
//! implementation.

use super::*;
use proptest::prelude::*;
use xts_mode::{Xts128, get_tweak_default};

/// The keys of IEEE 1619-2018, Annex B, vectors 10 to 14: digits of e and π.
const IEEE_KEY: &str = "2718281828459045235360287471352662497757247093699959574966967627\
                        3141592653589793238462643383279502884197169399375105820974944592";

/// What those make of the bytes 0 to 255, twice, as sector 0xff (vector 10).
const IEEE_10: &str = "\
    1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b\
    5d31e276f8fe4a8d66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd\
    5776926c49a3095eb108fd1098baec70aaa66999a72a82f27d848b21d4a741b0\
    c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf1000020887891429ca\
    2a3e7a7d7df7b10355165c8b9a6d0a7de8b062c4500dc4cd120c0f7418dae3d0\
    b5781c34803fa75421c790dfe1de1834f280d7667b327f6c8cd7557e12ac3a0f\
    93ec05c52e0493ef31a12d3d9260f79a289d6a379bc70c50841473d1a8cc81ec\
    583e9645e07b8d9670655ba5bbcfecc6dc3966380ad8fecb17b6ba02469a020a\
    84e18e8f84252070c13e9f1f289be54fbc481457778f616015e1327a02b140f1\
    505eb309326d68378f8374595c849d84f4c333ec4423885143cb47bd71c5edae\
    9be69a2ffeceb1bec9de244fbe15992b11b77c040f12bd8f6a975a44a0f90c29\
    a9abc3d4d893927284c58754cce294529f8614dcd2aba991925fedc4ae74ffac\
    6e333b93eb4aff0479da9a410e4450e0dd7ae4c6e2910900575da401fc07059f\
    645e8b7e9bfdef33943054ff84011493c27b3429eaedb4ed5376441a77ed4385\
    1ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550be97f7ab4066193c4caa\
    773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151";

fn hex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn key(digits: &str) -> Key {
    Key::new(&hex(digits).try_into().unwrap()).unwrap()
}

fn oracle(key: &Key) -> Xts128<Aes256> {
    let (data, tweak) = key.halves();
    Xts128::new(Aes256::new(data.into()), Aes256::new(tweak.into()))
}

#[test]
fn the_vector_of_the_standard_comes_out() {
    let cipher = Cipher::new(&key(IEEE_KEY));
    let plain: Sector = std::array::from_fn(|at| u8::try_from(at % 256).unwrap());
    let mut sectors = [plain];
    cipher.encrypt(0xff, &mut sectors);
    assert_eq!(sectors[0][..], hex(IEEE_10));
    cipher.decrypt(0xff, &mut sectors);
    assert_eq!(sectors[0], plain);
}

/// Vectors 11 to 14 have the same data in later sectors: how each begins.
#[test]
fn tweaks_are_counted_little_endian() {
    let cipher = Cipher::new(&key(IEEE_KEY));
    let plain: Sector = std::array::from_fn(|at| u8::try_from(at % 256).unwrap());
    for (number, first) in [
        (0xffff, "77a31251618a15e6b92d1d66dffe7b50"),
        (0xff_ffff, "e387aaa58ba483afa7e8eb469778317e"),
        (0xffff_ffff, "bf53d2dade78e822a4d949a9bc6766b0"),
        (0xff_ffff_ffff, "64497e5a831e4a932c09be3e5393376d"),
    ] {
        let mut sectors = [plain];
        cipher.encrypt(number, &mut sectors);
        assert_eq!(sectors[0][..16], hex(first), "{number:#x}");
    }
}

#[test]
fn a_sector_of_zeroes_in_the_file_is_a_sector_of_zeroes() {
    let cipher = Cipher::new(&key(IEEE_KEY));
    for count in [1, 7, 8, 9, 30] {
        let mut sectors = vec![[1; SECTOR]; count];
        cipher.encrypt(5, &mut sectors);
        let hole = count / 2;
        sectors[hole] = [0; SECTOR];
        cipher.decrypt(5, &mut sectors);
        for (at, sector) in sectors.iter().enumerate() {
            assert_eq!(*sector, [u8::from(at != hole); SECTOR], "{at} of {count}");
        }
    }
}

#[test]
fn zeroes_that_are_written_do_not_show() {
    let cipher = Cipher::new(&key(IEEE_KEY));
    let mut sectors = [[0; SECTOR]; 2];
    cipher.encrypt(0, &mut sectors);
    let zeroes = sectors.as_flattened().iter().filter(|byte| **byte == 0);
    assert!(zeroes.count() < 64);
    assert_ne!(sectors[0], sectors[1]);
    cipher.decrypt(0, &mut sectors);
    assert_eq!(sectors, [[0; SECTOR]; 2]);
}

#[test]
fn a_sector_with_a_single_bit_is_no_hole() {
    let cipher = Cipher::new(&key(IEEE_KEY));
    for at in [0, 16, SECTOR - 1] {
        let mut sectors = [[0; SECTOR]];
        sectors[0][at] = 0x80;
        let stored = sectors;
        cipher.decrypt(3, &mut sectors);
        assert_ne!(sectors, stored);
        cipher.encrypt(3, &mut sectors);
        assert_eq!(sectors, stored);
    }
}

proptest! {
    /// Whatever the key, the place and the number of sectors.
    #[test]
    fn another_implementation_comes_to_the_same(
        key: [[u8; 32]; 2],
        first in prop_oneof![0u64..1000, Just(u64::from(u32::MAX) - 3), 0..u64::MAX - 100],
        count in 0usize..40,
        seed: u8,
    ) {
        prop_assume!(key[0] != key[1]);
        let key = Key::new(&key.concat().try_into().unwrap()).unwrap();
        let byte = |at: usize| u8::try_from(at % 253).unwrap() ^ seed;
        let plain: Vec<u8> = (0..count * SECTOR).map(byte).collect();

        let mut theirs = plain.clone();
        oracle(&key).encrypt_area(&mut theirs, SECTOR, first.into(), get_tweak_default);
        let cipher = Cipher::new(&key);
        let mut ours = plain.clone();
        cipher.encrypt(first, ours.as_chunks_mut().0);
        prop_assert!(ours == theirs);
        cipher.decrypt(first, ours.as_chunks_mut().0);
        prop_assert!(ours == plain);
    }
}
