//! Lowering to the register form and the interpreter, at five word widths.
