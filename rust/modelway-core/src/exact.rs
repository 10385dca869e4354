//! exp and ln made of additions, multiplications and divisions alone, so that a result has the same bits on
//! every machine: those of the platform's library differ with its version and with the processor.

use std::f64::consts::LN_2;

/// Where e^x leaves the normal numbers of f32.
const LOWEST: f32 = -87.0;
const HIGHEST: f32 = 88.0;
/// 1.5 x 2^23: adding and taking it away again rounds to an integer.
const TO_INTEGER: f32 = 12_582_912.0;
/// ln 2 in two parts, the first with zeros behind so that small multiples of it are exact (Cody and Waite).
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^x; 0 below -87, and not beyond e^88.
#[must_use]
pub fn exp(x: f32) -> f32 {
    let is_nothing = x < LOWEST;
    let x = x.clamp(LOWEST, HIGHEST);
    let rounded = x * std::f32::consts::LOG2_E + TO_INTEGER;
    let power = rounded - TO_INTEGER;
    let rest = x - power * LN_2_HIGH - power * LN_2_LOW;
    // Taylor's series to the sixth power: |rest| is at most ln 2 / 2, and the next term below 2^-23.
    let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0]
        .into_iter()
        .fold(0.0, |sum: f32, coefficient| sum * rest + coefficient);
    // The integer stands in the lowest bits of what was rounded; no branch, so that several are made at once.
    let exponent = rounded.to_bits().wrapping_sub(TO_INTEGER.to_bits()).wrapping_add(127);
    let raised = series * f32::from_bits(exponent << 23);
    if is_nothing { 0.0 } else { raised }
}

/// The natural logarithm of a positive normal number.
#[must_use]
pub fn ln(x: f32) -> f32 {
    let bits = f64::from(x).to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut fraction = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if fraction > std::f64::consts::SQRT_2 {
        fraction *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is below 0.172.
    let ratio = (fraction - 1.0) / (fraction + 1.0);
    let square = ratio * ratio;
    let series = [11.0, 9.0, 7.0, 5.0, 3.0, 1.0].into_iter().fold(0.0, |sum, odd| sum * square + 1.0 / odd);
    (2.0 * ratio * series + f64::from(exponent) * LN_2) as f32
}

#[cfg(test)]
mod tests {
    use super::{exp, ln};

    #[test]
    fn they_are_those_of_the_library_to_seven_digits() {
        for step in -87_000..88_000 {
            let x = step as f32 / 1_000.0;
            let wanted = f64::from(x).exp();
            assert!((f64::from(exp(x)) - wanted).abs() <= 3e-7 * wanted, "exp({x})");
            let positive = exp(x);
            let wanted = f64::from(positive).ln();
            assert!(
                (f64::from(ln(positive)) - wanted).abs() <= 1e-7 * wanted.abs().max(1e-3),
                "ln({positive})"
            );
        }
    }

    #[test]
    fn they_end_where_numbers_end() {
        let known = [exp(-88.0), exp(f32::NEG_INFINITY), exp(0.0), ln(1.0)];
        assert_eq!(known.map(f32::to_bits), [0.0, 0.0, 1.0, 0.0].map(f32::to_bits));
        assert!(exp(1e9).is_finite() && ln(f32::MAX).is_finite() && ln(f32::MIN_POSITIVE).is_finite());
    }
}
