//! Documents as trees, with the order of values written down once more: numbers as exact fractions.

use std::cmp::Ordering;

use minicbor::Decoder;
use minicbor::data::Type;
use num_bigint::{BigInt, BigUint};

#[derive(Clone, Debug)]
pub enum Tree {
    Missing,
    Null,
    Bool(bool),
    Int(BigInt),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

pub fn decode(document: &[u8]) -> Tree {
    let mut input = Decoder::new(document);
    let tree = item(&mut input);
    assert_eq!(input.position(), document.len());
    tree
}

fn item(input: &mut Decoder<'_>) -> Tree {
    match input.datatype().unwrap() {
        Type::Null => {
            input.null().unwrap();
            Tree::Null
        }
        Type::Bool => Tree::Bool(input.bool().unwrap()),
        Type::F16 => Tree::Float(f64::from(input.f16().unwrap())),
        Type::F32 => Tree::Float(f64::from(input.f32().unwrap())),
        Type::F64 => Tree::Float(input.f64().unwrap()),
        Type::String => Tree::Text(input.str().unwrap().to_owned()),
        Type::Bytes => Tree::Bytes(input.bytes().unwrap().to_vec()),
        Type::Tag => {
            let negative = input.tag().unwrap().as_u64() == 3;
            let magnitude = BigInt::from(BigUint::from_bytes_be(input.bytes().unwrap()));
            Tree::Int(if negative { -1 - magnitude } else { magnitude })
        }
        Type::Array => {
            let length = input.array().unwrap().unwrap();
            Tree::Array((0..length).map(|_| item(input)).collect())
        }
        Type::Map => {
            let length = input.map().unwrap().unwrap();
            Tree::Map((0..length).map(|_| (input.str().unwrap().to_owned(), item(input))).collect())
        }
        _ => Tree::Int(BigInt::from(i128::from(input.int().unwrap()))),
    }
}

impl Tree {
    pub fn rank(&self) -> u8 {
        match self {
            Tree::Missing => 0,
            Tree::Null => 1,
            Tree::Bool(false) => 2,
            Tree::Bool(true) => 3,
            Tree::Int(_) | Tree::Float(_) => 4,
            Tree::Text(_) => 5,
            Tree::Bytes(_) => 6,
            Tree::Array(_) => 7,
            Tree::Map(_) => 8,
        }
    }

    pub fn kind(&self) -> u8 {
        if self.rank() == 3 { 2 } else { self.rank() }
    }

    pub fn is_nothing(&self) -> bool {
        self.rank() < 2
    }
}

/// A float as a fraction over 2^1074.
pub fn scaled(value: f64) -> BigInt {
    // Halving 1074 times at most reaches the unit; integers are exact in decimal notation.
    let mut value = value;
    let mut twos = 1074u32;
    while value.fract() != 0.0 {
        value *= 2.0;
        twos -= 1;
    }
    let integer: BigInt = format!("{value:.0}").parse().unwrap();
    integer << twos
}

fn exact(tree: &Tree) -> BigInt {
    match tree {
        Tree::Int(value) => value.clone() << 1074u32,
        Tree::Float(value) => scaled(*value),
        _ => unreachable!("a number"),
    }
}

/// -1 for -infinity, 0 for finite numbers, 1 for infinity, 2 for NaN.
fn region(tree: &Tree) -> i8 {
    match tree {
        Tree::Float(value) if value.is_nan() => 2,
        Tree::Float(value) if value.is_infinite() => value.signum() as i8,
        _ => 0,
    }
}

pub fn compare(a: &Tree, b: &Tree) -> Ordering {
    a.rank().cmp(&b.rank()).then_with(|| match (a, b) {
        (Tree::Text(a), Tree::Text(b)) => a.chars().cmp(b.chars()),
        (Tree::Bytes(a), Tree::Bytes(b)) => a.cmp(b),
        (Tree::Array(a), Tree::Array(b)) => {
            for (a, b) in a.iter().zip(b) {
                if compare(a, b).is_ne() {
                    return compare(a, b);
                }
            }
            a.len().cmp(&b.len())
        }
        (Tree::Map(a), Tree::Map(b)) => {
            for ((a_name, a), (b_name, b)) in a.iter().zip(b) {
                let order = a_name.chars().cmp(b_name.chars()).then_with(|| compare(a, b));
                if order.is_ne() {
                    return order;
                }
            }
            a.len().cmp(&b.len())
        }
        _ if a.rank() == 4 => region(a)
            .cmp(&region(b))
            .then_with(|| if region(a) == 0 { exact(a).cmp(&exact(b)) } else { Ordering::Equal }),
        _ => Ordering::Equal,
    })
}
