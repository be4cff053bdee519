//! Ordering of text by the rules of a locale (Unicode Collation Algorithm with CLDR tailorings).
//!
//! Behind the cargo feature `collation`: the tables of `icu_collator` add 1.4 MB to a program.

use crate::QueryError;

/// Longest name of a locale, bytes.
const MAX_LOCALE_BYTES: usize = 64;

/// Checks a locale's name.
///
/// # Errors
/// A sentence.
pub(crate) fn check(locale: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if locale.is_empty() || locale.len() > MAX_LOCALE_BYTES || !locale.chars().all(fits) {
        let shown: String = locale.chars().take(MAX_LOCALE_BYTES).collect();
        return Err(format!("{shown:?} is not the name of a locale, such as \"de\" or \"sv\""));
    }
    Ok(())
}

/// Gives texts keys that sort by the rules of a locale.
pub(crate) struct Collation {
    #[cfg(feature = "collation")]
    collator: icu_collator::CollatorBorrowed<'static>,
}

#[cfg(feature = "collation")]
impl Collation {
    pub(crate) fn new(locale: &str) -> Result<Collation, QueryError> {
        let fail = |_| QueryError::Invalid(format!("{locale:?} is not the name of a locale, such as \"de\""));
        let parsed: icu_locale_core::Locale = locale.parse().map_err(fail)?;
        let preferences = icu_collator::CollatorPreferences::from(&parsed);
        let options = icu_collator::options::CollatorOptions::default();
        let collator = icu_collator::Collator::try_new(preferences, options)
            .map_err(|_| QueryError::Invalid(format!("there are no rules for the locale {locale:?}")))?;
        Ok(Collation { collator })
    }

    pub(crate) fn key(&self, text: &str) -> Vec<u8> {
        let mut key = Vec::new();
        // Writing to a vector cannot fail.
        let _written: Result<(), _> = self.collator.write_sort_key_to(text, &mut key);
        key
    }
}

#[cfg(not(feature = "collation"))]
impl Collation {
    pub(crate) fn new(locale: &str) -> Result<Collation, QueryError> {
        Err(QueryError::Invalid(format!(
            "COLLATE {locale:?} needs rules of locales, and this program is built without them (feature `collation`)"
        )))
    }

    pub(crate) fn key(&self, text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }
}
