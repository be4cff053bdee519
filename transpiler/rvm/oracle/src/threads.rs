//! Threads: section 11 of the reference.

use crate::arithmetic::{I64, is_integer, number};
use crate::file::Value;
use crate::machine::{Event, Frame, Machine, Place, Status, Thread};

const MAX_THREADS: usize = 64;
const SLICE: u32 = 1_000;

type Done<T = ()> = Result<T, Event>;

impl Machine {
    /// Goes on with the next thread in turn.
    pub(crate) fn switch(&mut self) -> Option<Status> {
        self.slice = SLICE;
        let count = self.threads.len();
        for step in 1..=count {
            let next = (self.current + step) % count;
            if self.threads[next].result.is_some() {
                continue;
            }
            if let Some(other) = self.threads[next].joins {
                let Some(result) = self.threads[other].result else { continue };
                self.threads[next].joins = None;
                self.threads[next].stack.push(result);
            }
            self.current = next;
            return None;
        }
        // All that are alive wait.
        let lowest = self.threads.iter().position(|thread| thread.result.is_none());
        self.current = lowest.expect("the main thread is alive");
        if let Some(other) = self.thread().joins.take() {
            self.threads[other].is_joined = false;
        }
        self.error(8, 8, 8)
    }

    fn id(&mut self) -> Done<Option<usize>> {
        let id = self.pop()?;
        if !is_integer(id.ty) && id.ty != crate::arithmetic::CHAR {
            return Err(Event::Error(16));
        }
        Ok(usize::try_from(number(id)).ok().filter(|id| *id < self.threads.len()))
    }

    pub(crate) fn thread_function(&mut self, name: &str) -> Done {
        match name {
            "thread_create" => {
                let (value, text) = (self.pop()?, self.pop()?);
                let name = self.objects.text_at(text)?;
                let module = self.frame().module;
                let name: String = name.into_iter().map(char::from).collect();
                let found = self.modules[module].subroutines.get(&name).copied();
                let alive = self.threads.iter().filter(|thread| thread.result.is_none()).count();
                let Some(found) = found.filter(|_| alive < MAX_THREADS) else { return Err(Event::Error(7)) };
                let place = Place { module, at: found.entry, returns: found.returns };
                let id = self.threads.len() as u64;
                self.threads.push(Thread::new(Frame::new(place, 1), vec![value]));
                self.push(Value { ty: I64, bits: id })
            }
            "thread_join" => {
                let current = self.current;
                let id = self.id()?.filter(|id| *id != 0 && *id != current).ok_or(Event::Error(8))?;
                let other = &mut self.threads[id];
                if other.is_detached || other.is_joined {
                    return Err(Event::Error(8));
                }
                other.is_joined = true;
                if let Some(result) = other.result {
                    return self.push(result);
                }
                self.thread().joins = Some(id);
                Err(Event::Switch)
            }
            "thread_detach" => {
                let id = self.id()?.filter(|id| *id != 0).ok_or(Event::Error(9))?;
                let other = &mut self.threads[id];
                if other.is_detached || other.is_joined {
                    return Err(Event::Error(9));
                }
                other.is_detached = true;
                Ok(())
            }
            "thread_cancel" => {
                let current = self.current;
                let id = self.id()?.filter(|id| *id != 0 && *id != current).ok_or(Event::Error(10))?;
                if self.threads[id].result.is_some() {
                    return Err(Event::Error(10));
                }
                self.threads[id].result = Some(Value { ty: I64, bits: u64::MAX });
                Ok(())
            }
            "thread_exit" => {
                let value = self.pop()?;
                if self.current == 0 {
                    return Err(Event::Error(11));
                }
                self.thread().result = Some(value);
                Err(Event::Switch)
            }
            "thread_self" => {
                let id = self.current as u64;
                self.push(Value { ty: I64, bits: id })
            }
            _ => Err(Event::Switch),
        }
    }
}
