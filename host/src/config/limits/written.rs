//! How these values stand in a file: as numbers where they are some, else as
//! text.

use core::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::{Amount, Count, CpuSet, Cpus, IoMax, Nice, Weight};

/// A value that is written as text, or as a number where it is one.
struct Written<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

fn write<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    let text = value.to_string();
    if let Ok(number) = text.parse::<i64>() {
        return serializer.serialize_i64(number);
    }
    match text.parse::<f64>() {
        Ok(number) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            serializer.serialize_f64(number)
        }
        _ => serializer.serialize_str(&text),
    }
}

macro_rules! written {
    ($($type:ty: $what:literal),*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                write(self, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Written($what, PhantomData))
            }
        }
    )* };
}

written! {
    Amount: "a size like \"512M\"", Count: "a number of processes or \"max\"",
    Cpus: "a number of processors or \"max\"", Weight: "a number from 1 to 10000",
    Nice: "a number from -20 to 19", CpuSet: "processors like \"0-3,5\"",
    IoMax: "traffic like \"/dev/sda wbps=20M\""
}
