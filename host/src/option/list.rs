//! Option lists: `first,flag,key=value`, the form of `--disk` and `--net`.
//!
//! Items are separated by commas; two commas in a row stand for a comma
//! within an item, so that every path can be written.

use super::Invalid;

/// The items of an option list, to be taken one by one. What is left at the
/// end is unknown, and [`finish`](Self::finish) refuses it.
#[derive(Debug, Default)]
pub struct OptionList {
    items: Vec<(String, Option<String>)>,
}

impl OptionList {
    /// Splits `text`.
    ///
    /// # Errors
    /// An item is empty or is there twice.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut items: Vec<(String, Option<String>)> = Vec::new();
        for item in split(text) {
            let (key, value) = match item.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (item, None),
            };
            if key.is_empty() {
                return Err(Invalid::new(
                    "an item between commas is empty (two commas stand for one in a path)",
                ));
            }
            if items.iter().any(|(other, _)| *other == key) {
                return Err(Invalid::new(format!("'{key}' is given twice")));
            }
            items.push((key, value));
        }
        Ok(Self { items })
    }

    /// Whether the flag `key` was given.
    ///
    /// # Errors
    /// It was given a value.
    pub fn flag(&mut self, key: &str) -> Result<bool, Invalid> {
        match self.take(key) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(_)) => Err(Invalid::new(format!("'{key}' takes no value"))),
        }
    }

    /// The value given for `key`, if any.
    ///
    /// # Errors
    /// `key` was given without a value.
    pub fn value(&mut self, key: &str) -> Result<Option<String>, Invalid> {
        match self.take(key) {
            None => Ok(None),
            Some(Some(value)) if !value.is_empty() => Ok(Some(value)),
            Some(_) => Err(Invalid::new(format!("'{key}' needs a value: {key}=…"))),
        }
    }

    /// Refuses whatever has not been taken; `known` lists what could have
    /// been.
    ///
    /// # Errors
    /// Something is left.
    pub fn finish(self, known: &str) -> Result<(), Invalid> {
        match self.items.first() {
            None => Ok(()),
            Some((key, _)) => Err(Invalid::new(format!(
                "'{key}' is not known here: there are {known}"
            ))),
        }
    }

    fn take(&mut self, key: &str) -> Option<Option<String>> {
        let at = self.items.iter().position(|(other, _)| other == key)?;
        Some(self.items.remove(at).1)
    }
}

/// Separates `PATH[,…]` into the path and the rest.
pub fn split_first(text: &str) -> (String, Option<&str>) {
    let (first, rest) = split_item(text);
    (first, rest)
}

fn split(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (item, tail) = split_item(text);
        items.push(item);
        rest = tail;
    }
    items
}

/// The first item, unescaped, and what follows its comma.
fn split_item(text: &str) -> (String, Option<&str>) {
    let mut item = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(',') {
        item += &rest[..at];
        rest = &rest[at + 1..];
        match rest.strip_prefix(',') {
            Some(tail) => {
                item.push(',');
                rest = tail;
            }
            None => return (item, Some(rest)),
        }
    }
    (item + rest, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn flags_and_values_are_taken_once() {
        let mut list = OptionList::parse("readonly,id=a=b").unwrap();
        assert!(list.flag("readonly").unwrap());
        assert!(!list.flag("direct").unwrap());
        assert_eq!(list.value("id").unwrap().as_deref(), Some("a=b"));
        list.finish("readonly").unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text| OptionList::parse(text).unwrap_err().to_string();
        assert!(error("a,a").contains("'a' is given twice"));
        assert!(error("").contains("empty"));
        assert!(error("a,").contains("empty"));
        let mut list = OptionList::parse("flag=1,key,other").unwrap();
        assert!(list.flag("flag").is_err());
        assert!(list.value("key").is_err());
        let unknown = list.finish("flag and key").unwrap_err().to_string();
        assert_eq!(unknown, "'other' is not known here: there are flag and key");
    }

    proptest! {
        #[test]
        fn any_path_can_be_written(path in "[^\0]{1,20}") {
            // A comma at the end of an item and the next separator would be
            // read as an escaped comma and a separator: the same thing.
            let text = format!("{},readonly", path.replace(',', ",,"));
            prop_assert_eq!(split_first(&text), (path, Some("readonly")));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = OptionList::parse(&text);
        }
    }
}
