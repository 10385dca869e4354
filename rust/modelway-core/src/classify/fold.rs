//! Bringing a text into normal form and folding it: sixteen bytes at once where it is plain ASCII.

use wide::u8x16;

use super::beyond_ascii::Wide;
use super::folded::{BLOCK, Block, Folded, PAD};
use super::normal::Normal;

/// Blocks that hold short texts, pads aside: most prompts; larger buffers cost time to clear.
const FEW: usize = 3;
/// Blocks that hold any sample in ASCII, pads aside.
const MANY: usize = super::sample::SAMPLE_BYTES / BLOCK;
/// The bit in which letters differ in case.
const CASE: u8 = 0x20;

/// Brings a text into normal form, folds it and hands it to `act`.
pub(super) fn fold(text: &str, act: impl FnOnce(&Folded<'_>)) {
    // Buffers of fixed size on the stack, so that nothing is allocated for plain texts.
    let blocks = text.len().div_ceil(BLOCK);
    let act = if blocks <= FEW {
        lend_plain::<{ FEW + 2 }, FEW, _>(text, act)
    } else if blocks <= MANY {
        lend_plain::<{ MANY + 2 }, MANY, _>(text, act)
    } else {
        Some(act)
    };
    if let Some(act) = act {
        Wide::of(Normal::of(text, false).text()).lend(act);
    }
}

/// Folds plain ASCII of at most `BLOCKS` blocks, which is its own normal form; gives `act` back where the
/// text is anything else. `PADDED` is two more than `BLOCKS`.
#[inline]
fn lend_plain<const PADDED: usize, const BLOCKS: usize, F: FnOnce(&Folded<'_>)>(
    text: &str,
    act: F,
) -> Option<F> {
    let mut symbols = [[b' '; BLOCK]; PADDED];
    let mut blocks = [Block::default(); BLOCKS];
    let symbols = symbols.as_flattened_mut();
    symbols[PAD..PAD + text.len()].copy_from_slice(text.as_bytes());
    // Bytes behind the text would say nothing.
    let read = &mut symbols[PAD..PAD + text.len().next_multiple_of(STEP)];
    let used = text.len().div_ceil(BLOCK);
    let (mut plain, mut digits, mut underscores, mut newlines) =
        (!u8x16::ZERO, u8x16::ZERO, u8x16::ZERO, u8x16::ZERO);
    let (mut humps, mut before) = (0, 0);
    for (block, symbols) in blocks[..used].iter_mut().zip(read.chunks_mut(BLOCK)) {
        let (mut capitals, mut small) = (0, 0);
        for (place, bytes) in (0..).step_by(STEP).zip(symbols.as_chunks_mut().0) {
            let seen = Sixteen::of(u8x16::new(*bytes));
            *bytes = seen.symbols.to_array();
            let bits = |mask: u8x16| u64::from(mask.to_bitmask()) << place;
            block.words |= bits(seen.words);
            block.others |= bits(seen.others);
            capitals |= bits(seen.capitals);
            small |= bits(seen.letters);
            plain &= seen.plain;
            digits |= seen.digits;
            underscores |= seen.underscores;
            newlines |= seen.newlines;
        }
        small &= !capitals;
        humps |= capitals & (small << 1 | before);
        before = small >> (BLOCK - 1);
    }
    if !plain.all() {
        return Some(act);
    }
    act(&Folded {
        text,
        symbols,
        blocks: &blocks[..used],
        places: None,
        has_digit: digits.any(),
        has_underscore: underscores.any(),
        has_newline: newlines.any(),
        has_hump: humps != 0,
    });
    None
}

/// Bytes that are read at once.
const STEP: usize = 16;

/// Sixteen bytes of plain ASCII at once; masks have all bits of each byte they mean.
struct Sixteen {
    symbols: u8x16,
    words: u8x16,
    others: u8x16,
    letters: u8x16,
    capitals: u8x16,
    digits: u8x16,
    underscores: u8x16,
    newlines: u8x16,
    /// Where it is not set, all else is void.
    plain: u8x16,
}

impl Sixteen {
    #[inline]
    fn of(bytes: u8x16) -> Self {
        let all = u8x16::splat;
        // What is below `first` wraps to what is above any `last`.
        let between = |bytes: u8x16, first: u8, last: u8| (bytes - all(first)).simd_le(all(last - first));
        let cased = bytes | all(CASE);
        let letters = between(cased, b'a', b'z');
        let digits = between(bytes, b'0', b'9');
        let underscores = bytes.simd_eq(all(b'_'));
        let newlines = bytes.simd_eq(all(b'\n'));
        let words = letters | digits | underscores;
        let visible = between(bytes, b'!', b'~');
        // Case is one bit, which digits have set; their low half makes them differ.
        let symbols = cased & !(digits & all(0x0F));
        Self {
            symbols: words.bitselect(symbols, all(b' ')),
            words,
            others: (visible & !words) | newlines,
            letters,
            capitals: letters & !bytes.simd_eq(cased),
            digits,
            underscores,
            newlines,
            plain: visible | bytes.simd_eq(all(b' ')) | between(bytes, b'\t', b'\r'),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BLOCK, Folded, Normal, Wide, fold};
    use crate::classify::beyond_ascii::Kind;

    /// Symbols, and one letter for each: what the masks say it is.
    fn seen(folded: &Folded<'_>) -> (Vec<u8>, String) {
        let count = folded.places.map_or(folded.text.len(), |places| places.len() - 1);
        let symbols = (0..count).map(|at| folded.eight(at) as u8).collect();
        let kinds = (0..count).map(|at| {
            let (block, bit) = (folded.blocks[at / BLOCK], 1_u64 << (at % BLOCK));
            match (block.words & bit != 0, block.others & bit != 0) {
                (true, false) => 'w',
                (false, true) => 'o',
                (false, false) => ' ',
                (true, true) => '!',
            }
        });
        (symbols, kinds.collect())
    }

    #[test]
    fn each_character_has_its_symbol_and_kind() {
        for (text, symbols, kinds) in [
            ("a_B9 -\n\t", &b"a\x7fb0    "[..], "wwww oo "),
            ("ø ж", b"\xf8 \xb6", "w w"),
            ("字 한", b"  \xaa\xdc", "o ww"),
        ] {
            let (mut got, mut marked) = (Vec::new(), String::new());
            fold(text, |folded| (got, marked) = seen(folded));
            assert_eq!((got.as_slice(), marked.as_str()), (symbols, kinds), "{text:?}");
        }
    }

    #[test]
    fn every_byte_is_told_in_every_place_of_sixteen() {
        for byte in (b' '..0x7F).chain(b'\t'..=b'\r') {
            for place in 0..16 {
                for other in *b" aZ_0~\n" {
                    let mut bytes = [other; 16];
                    bytes[place] = byte;
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let kind = match Kind::of(char::from(byte)) {
                        Kind::Word => 'w',
                        Kind::Blank => ' ',
                        Kind::Other => 'o',
                    };
                    fold(&text, |folded| {
                        assert_eq!(seen(folded).1.chars().nth(place), Some(kind), "{text:?}");
                    });
                }
            }
        }
    }

    #[test]
    fn a_capital_behind_a_small_letter_is_a_hump() {
        for (text, has_hump) in [
            ("userName", true),
            ("AbC", true),
            ("User NAME 2X _Y", false),
            ("xxxxxxxX", true),
            ("xxxxxxx X", false),
        ] {
            for at in 0..BLOCK + 9 {
                let text = format!("{}{text}", " ".repeat(at));
                fold(&text, |folded| assert_eq!(folded.has_hump, has_hump, "{text:?}"));
            }
        }
    }

    proptest! {
        #[test]
        fn plain_texts_are_folded_alike_at_once_and_one_by_one(text in "[ -~\t-\r]{0,400}") {
            let mut at_once = (Vec::new(), String::new(), false, false);
            fold(&text, |folded| {
                let (symbols, kinds) = seen(folded);
                at_once = (symbols, kinds, folded.has_digit, folded.has_underscore);
            });
            Wide::of(Normal::of(&text, false).text()).lend(|folded| {
                let (symbols, kinds) = seen(folded);
                assert_eq!(at_once, (symbols, kinds, folded.has_digit, folded.has_underscore));
            });
        }
    }
}
