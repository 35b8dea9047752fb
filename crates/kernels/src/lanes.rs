//! The only operation that names processor instructions: eight products of 16-bit numbers, added in
//! pairs to four 32-bit sums (`i32x4.dot_i16x8` in wasm, `pmaddwd` on x86).
//!
//! The operation is exact, so the wasm and the portable implementation give the same bits.

/// Vector of eight 16-bit numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct I16Lanes(imp::I16x8);

/// Vector of four 32-bit sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct I32Accumulator(imp::I32x4);

impl I16Lanes {
    pub(crate) fn new(lanes: [i16; 8]) -> Self {
        Self(imp::pack(lanes))
    }

    /// Repeats one pair of 16-bit numbers in all four places, the low half first.
    #[inline(always)]
    pub(crate) fn splat(pair: i32) -> Self {
        Self(imp::splat(pair))
    }
}

impl I32Accumulator {
    #[inline(always)]
    pub(crate) fn zero() -> Self {
        Self(imp::zero())
    }

    /// Returns `self[i] + a[2i] b[2i] + a[2i + 1] b[2i + 1]` for each `i`, wrapping at 32 bits.
    #[inline(always)]
    pub(crate) fn add_dot(self, a: I16Lanes, b: I16Lanes) -> Self {
        Self(imp::plus_dot(self.0, a.0, b.0))
    }

    #[inline(always)]
    pub(crate) fn as_array(self) -> [i32; 4] {
        imp::unpack(self.0)
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use core::arch::wasm32::{
        i16x8, i32x4_add, i32x4_dot_i16x8, i32x4_extract_lane, i32x4_splat, v128,
    };

    pub(super) type I16x8 = v128;
    pub(super) type I32x4 = v128;

    pub(super) fn pack(l: [i16; 8]) -> v128 {
        i16x8(l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7])
    }

    #[inline(always)]
    pub(super) fn splat(pair: i32) -> v128 {
        i32x4_splat(pair)
    }

    #[inline(always)]
    pub(super) fn zero() -> v128 {
        i32x4_splat(0)
    }

    #[inline(always)]
    pub(super) fn plus_dot(sums: v128, a: v128, b: v128) -> v128 {
        i32x4_add(sums, i32x4_dot_i16x8(a, b))
    }

    #[inline(always)]
    pub(super) fn unpack(s: v128) -> [i32; 4] {
        [
            i32x4_extract_lane::<0>(s),
            i32x4_extract_lane::<1>(s),
            i32x4_extract_lane::<2>(s),
            i32x4_extract_lane::<3>(s),
        ]
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod imp {
    pub(super) type I16x8 = [i16; 8];
    pub(super) type I32x4 = [i32; 4];

    pub(super) fn pack(lanes: [i16; 8]) -> I16x8 {
        lanes
    }

    #[inline(always)]
    pub(super) fn splat(pair: i32) -> I16x8 {
        let (low, high) = (pair as i16, (pair >> 16) as i16);
        [low, high, low, high, low, high, low, high]
    }

    #[inline(always)]
    pub(super) fn zero() -> I32x4 {
        [0; 4]
    }

    #[inline(always)]
    pub(super) fn plus_dot(mut sums: I32x4, a: I16x8, b: I16x8) -> I32x4 {
        for (i, sum) in sums.iter_mut().enumerate() {
            let even = i32::from(a[2 * i]) * i32::from(b[2 * i]);
            let odd = i32::from(a[2 * i + 1]) * i32::from(b[2 * i + 1]);
            *sum = sum.wrapping_add(even.wrapping_add(odd));
        }
        sums
    }

    #[inline(always)]
    pub(super) fn unpack(sums: I32x4) -> [i32; 4] {
        sums
    }
}
