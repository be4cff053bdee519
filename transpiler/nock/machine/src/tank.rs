//! Tanks, the trees of text of Hoon, on one line.

use dotvm_heap::{Heap, Reference};

use crate::names::cord;

/// Bytes after which a line ends.
const MOST: usize = 4096;

/// The text of a tank; what is none is `*`.
pub(crate) fn line(heap: &Heap, tank: &Reference) -> String {
    enum Task {
        Tank(Reference),
        /// The rest of a list of tanks, and what stands before each but the first.
        Rest(Reference, String, bool),
        Text(String),
    }
    let mut line = String::new();
    let mut tasks = vec![Task::Tank(tank.alias())];
    while let Some(task) = tasks.pop() {
        if line.len() > MOST {
            line.push('…');
            break;
        }
        match task {
            Task::Text(text) => line.push_str(&text),
            Task::Rest(list, between, is_first) => {
                if let (Some(first), Some(rest)) = (heap.head(&list), heap.tail(&list)) {
                    if !is_first {
                        line.push_str(&between);
                    }
                    tasks.push(Task::Rest(rest.alias(), between, false));
                    tasks.push(Task::Tank(first.alias()));
                }
            }
            Task::Tank(tank) => {
                let (Some(kind), Some(rest)) = (heap.head(&tank), heap.tail(&tank)) else {
                    line.push_str(&cord(heap, &tank).unwrap_or_default());
                    continue;
                };
                let parts = heap.head(rest).zip(heap.tail(rest));
                match (cord(heap, kind).as_deref(), parts) {
                    (Some("leaf"), _) => line.push_str(&tape(heap, rest)),
                    (Some("rose"), Some((style, tanks))) => {
                        let [between, open, close] = styles(heap, style);
                        tasks.push(Task::Text(close));
                        tasks.push(Task::Rest(tanks.alias(), between, true));
                        tasks.push(Task::Text(open));
                    }
                    (Some("palm"), Some((style, tanks))) => {
                        let [between, open, more] = styles(heap, style);
                        let (more, close) = more.split_once('\0').unwrap_or((&more, ""));
                        tasks.push(Task::Text(close.to_owned()));
                        tasks.push(Task::Rest(tanks.alias(), between, true));
                        tasks.push(Task::Text(open + more));
                    }
                    _ => line.push('*'),
                }
            }
        }
    }
    line
}

/// The texts of a style; of a fourth one, behind a zero in the third.
fn styles(heap: &Heap, style: &Reference) -> [String; 3] {
    let mut texts = [String::new(), String::new(), String::new()];
    let mut rest = style.alias();
    for text in texts.iter_mut().take(2) {
        if let (Some(first), Some(next)) = (heap.head(&rest), heap.tail(&rest)) {
            *text = tape(heap, first);
            rest = next.alias();
        }
    }
    texts[2] = match (heap.head(&rest), heap.tail(&rest)) {
        // A tape begins with an atom, a pair of tapes mostly with one that does.
        (Some(first), Some(second))
            if first.is_cell() || (first.as_small() == Some(0) && second.is_cell()) =>
        {
            format!("{}\0{}", tape(heap, first), tape(heap, second))
        }
        _ => tape(heap, &rest),
    };
    texts
}

/// The text of a list of characters.
fn tape(heap: &Heap, list: &Reference) -> String {
    let (mut bytes, mut rest) = (Vec::new(), list.alias());
    while let (Some(first), Some(next)) = (heap.head(&rest), heap.tail(&rest)) {
        let Some(byte) = first.as_small().and_then(|byte| u8::try_from(byte).ok()) else { break };
        bytes.push(byte);
        if bytes.len() > MOST {
            break;
        }
        rest = next.alias();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
