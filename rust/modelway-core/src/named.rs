//! Enums that have a long name (the design document's) and a short form (configuration, headers, JSON).

/// Declares such an enum with `ALL`, `name`, `short` and a `parse` that takes either form in any case.
macro_rules! named_enum {
    ($(#[$meta:meta])* $enum:ident { $($(#[$vmeta:meta])* $variant:ident => $short:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $enum { $($(#[$vmeta])* $variant),+ }

        impl $enum {
            /// Every member, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The long name, as in the design document.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// The short form that configuration, headers and JSON use.
            #[must_use]
            pub const fn short(self) -> &'static str {
                match self { $(Self::$variant => $short),+ }
            }

            /// The member with this long or short name, in any case.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|member| {
                    member.name().eq_ignore_ascii_case(name) || member.short().eq_ignore_ascii_case(name)
                })
            }
        }
    };
}

pub(crate) use named_enum;

/// The known name most like `name`, if any is near enough to be what was meant.
///
/// Normalised Damerau-Levenshtein similarity of at least 0.5, so that one slip in a short name and
/// several in a long one are forgiven.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR_ENOUGH: f64 = 0.5;
    // A name longer than this was not mistyped; comparing it would cost time in proportion to its length.
    const LONGEST: usize = 200;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate)
        })
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let known = ["general", "code", "deep", "deepseek-coder:6.7b"];
        assert_eq!(nearest("depe", known), Some("deep"));
        assert_eq!(nearest("Genral", known), Some("general"));
        assert_eq!(nearest("deepseek-codr:6.7b", known), Some("deepseek-coder:6.7b"));
        assert_eq!(nearest("zzzzzz", known), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }
}
