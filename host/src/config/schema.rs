//! Which keys a configuration has, learned from its types.
//!
//! Nothing here lists a key: [`shape`] lets serde's derived code say which
//! fields, variants or free keys it expects at a path, by deserialising from
//! a source that has nothing but that path.

use std::cell::Cell;

use serde::de::value::{Error as Refusal, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::GuestConfig;

/// What stands at a path of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A section with these keys.
    Section(&'static [&'static str]),
    /// A section with keys of the user's choice.
    Free,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An array.
    List,
    /// A single value.
    Value,
}

/// What stands at this path; `None` when there is no such key.
pub fn shape(path: &[&str]) -> Option<Shape> {
    let found = Cell::new(None);
    // The probe always ends in an error: it stops where the path ends.
    let _ = GuestConfig::deserialize(Probe { path, found: &found });
    found.get()
}

/// All keys that hold a value, dotted, in the order of the types.
pub fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    collect(&mut Vec::new(), &mut keys);
    keys
}

/// What to do with a section where a key of it is wanted.
pub fn hint_of_section(section: &str) -> Option<String> {
    let below = format!("{section}.");
    let path: Vec<&str> = section.split('.').collect();
    let example = match shape(&path) {
        Some(Shape::Free) => Some(format!("{below}NAME")),
        _ => keys().into_iter().find(|known| known.starts_with(&below)),
    };
    example.map(|example| format!("name a key in it, such as '{example}'"))
}

fn collect(path: &mut Vec<&'static str>, keys: &mut Vec<String>) {
    let Some(Shape::Section(fields)) = shape(path) else {
        keys.push(path.join("."));
        return;
    };
    for field in fields {
        path.push(field);
        collect(path, keys);
        path.pop();
    }
}

/// A source that has one path only, and notes what is expected at its end.
#[derive(Clone, Copy)]
struct Probe<'a> {
    path: &'a [&'a str],
    found: &'a Cell<Option<Shape>>,
}

impl Probe<'_> {
    fn end<T>(self, shape: Shape) -> Result<T, Refusal> {
        if self.path.is_empty() {
            self.found.set(Some(shape));
        }
        Err(Refusal::custom("the path ends"))
    }

    fn descend<'de, V: Visitor<'de>>(self, shape: Shape, visitor: V) -> Result<V::Value, Refusal> {
        match self.path {
            [] => self.end(shape),
            [key, rest @ ..] => {
                visitor.visit_map(OneEntry { key: Some(key), value: Probe { path: rest, ..self } })
            }
        }
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refusal;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.descend(Shape::Section(fields), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.descend(Shape::Free, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refusal> {
        self.end(Shape::Choice(variants))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
        self.end(Shape::List)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
        self.end(Shape::Value)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// A map of one key.
struct OneEntry<'a> {
    key: Option<&'a str>,
    value: Probe<'a>,
}

impl<'de> MapAccess<'de> for OneEntry<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refusal> {
        let key = self.key.take().map(|key| {
            let source: StrDeserializer<'_, Refusal> = key.into_deserializer();
            seed.deserialize(source)
        });
        key.transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        seed.deserialize(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_come_from_the_types() {
        assert!(matches!(shape(&[]), Some(Shape::Section(keys)) if keys.contains(&"boot")));
        assert_eq!(shape(&["context"]), Some(Shape::Value));
        assert_eq!(shape(&["marks"]), Some(Shape::List));
        assert_eq!(shape(&["boot", "stop_timeout"]), Some(Shape::Value));
        assert_eq!(shape(&["boot", "runlevel"]), Some(Shape::Value));
        assert_eq!(shape(&["boot", "environment"]), Some(Shape::Free));
        assert_eq!(shape(&["boot", "environment", "LANG"]), Some(Shape::Value));
        assert_eq!(shape(&["boot", "credentials"]), Some(Shape::Free));
        assert_eq!(shape(&["boot", "credentials", "a.b"]), Some(Shape::Value));
        assert!(matches!(shape(&["boot", "style"]), Some(Shape::Choice(w)) if w.contains(&"sysv")));
        assert_eq!(shape(&["security", "capabilities", "add"]), Some(Shape::List));
        assert_eq!(shape(&["boot", "stile"]), None);
        assert_eq!(shape(&["context", "x"]), None);
    }

    #[test]
    fn every_value_is_listed_once() {
        let keys = keys();
        assert_eq!(keys.first().map(String::as_str), Some("context"));
        assert!(keys.contains(&"security.capabilities.drop".to_owned()));
        assert!(!keys.contains(&"boot".to_owned()));
    }
}
