//! wasmi: WebAssembly interpreted, with fuel metering on, since DotVM meters gas.

use anyhow::{Context, Result};
use wasmi::{CompilationMode, Config, Engine, Linker, Module, Store, TypedFunc};

use crate::harness::Contender;

/// The name of wasmi contenders.
pub const NAME: &str = "wasmi (fuel on)";

/// A module whose exported `run : (i64) -> i64` is called once a run. Translation is eager and, like
/// instantiation, not timed.
pub struct Wasmi {
    store: Store<()>,
    run: TypedFunc<u64, u64>,
    argument: u64,
}

impl Wasmi {
    /// Compiles and instantiates the module in text form.
    pub fn new(wat: &str, argument: u64) -> Result<Self> {
        let mut config = Config::default();
        config.consume_fuel(true).compilation_mode(CompilationMode::Eager);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wat).context("wasmi refused the module")?;
        let mut store = Store::new(&engine, ());
        store.set_fuel(u64::MAX)?;
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module)?;
        let run = instance.get_typed_func(&store, "run")?;
        Ok(Self { store, run, argument })
    }
}

impl Contender for Wasmi {
    fn name(&self) -> &str {
        NAME
    }

    fn prepare(&mut self) -> Result<()> {
        Ok(self.store.set_fuel(u64::MAX)?)
    }

    fn run(&mut self) -> Result<u64> {
        Ok(self.run.call(&mut self.store, self.argument)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuel_is_used() {
        let mut wasmi =
            Wasmi::new(r#"(module (func (export "run") (param i64) (result i64) local.get 0))"#, 7).unwrap();
        wasmi.prepare().unwrap();
        assert_eq!(wasmi.run().unwrap(), 7);
        assert!(wasmi.store.get_fuel().unwrap() < u64::MAX);
    }
}
