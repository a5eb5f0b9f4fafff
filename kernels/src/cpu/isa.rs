//! Instruction sets: which one this processor has, and compiling a kernel for
//! each.
//!
//! A kernel is written once and compiled several times, with more instructions
//! allowed each time: [`per_isa`], and [`per_dot_isa`] and [`per_narrow_isa`]
//! for products of integers, in which more sets differ. Rust neither reorders
//! nor contracts floating-point operations, so every copy gives the same bits;
//! only the speed differs.

/// An instruction set that this processor has.
///
/// A value can only come from [`Isa::detect`], [`Isa::portable`] or
/// [`Isa::available`], so holding one proves that its instructions exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa {
    level: Level,
}

/// The sets that [`per_dot_isa`] compiles for, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512Bw(Avx512Bw),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "aarch64")]
    NeonDotprod(NeonDotprod),
}

/// The sets that [`per_isa`] compiles for: those that differ in more than dot
/// products of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512Bw(Avx512Bw),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

/// The sets that [`per_narrow_isa`] compiles for: those that differ in what
/// they do with vectors of at most 256 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Narrow {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "aarch64")]
    NeonDotprod(NeonDotprod),
}

/// Stands for what every processor of the target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portable;

/// Proves that the processor has AVX2, FMA, F16C and BMI2: only
/// [`Isa::available`] makes one.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2 {
    _private: (),
}

/// Proves that the processor has what [`Avx2`] stands for, and AVX-VNNI: only
/// [`Isa::available`] makes one.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AvxVnni {
    base: Avx2,
}

/// Proves that the processor has what [`Avx2`] stands for, and AVX-512 F, BW,
/// DQ and VL: only [`Isa::available`] makes one.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512Bw {
    base: Avx2,
}

#[cfg(target_arch = "x86_64")]
impl Avx512Bw {
    #[inline(always)]
    pub(crate) fn avx2(self) -> Avx2 {
        self.base
    }
}

/// Proves that the processor has what [`Avx512Bw`] stands for, and AVX-512
/// VNNI: only [`Isa::available`] makes one.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512 {
    base: Avx512Bw,
}

/// Proves that the processor has NEON: only [`Isa::available`] makes one.
#[cfg(target_arch = "aarch64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neon {
    _private: (),
}

/// Proves that the processor has NEON and its dot products: only
/// [`Isa::available`] makes one.
#[cfg(target_arch = "aarch64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NeonDotprod {
    base: Neon,
}

/// What stands for a set with NEON.
///
/// # Safety
///
/// A value must prove that the processor has NEON.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe trait NeonSet: Copy {}

// SAFETY: see the type.
#[cfg(target_arch = "aarch64")]
unsafe impl NeonSet for Neon {}

// SAFETY: see the type.
#[cfg(target_arch = "aarch64")]
unsafe impl NeonSet for NeonDotprod {}

/// Whether each of the named x86-64 features is there.
#[cfg(target_arch = "x86_64")]
macro_rules! detected {
    ($($feature:tt),*) => {
        [$(($feature, std::arch::is_x86_feature_detected!($feature))),*]
    };
}

/// Whether each of the named AArch64 features is there.
#[cfg(target_arch = "aarch64")]
macro_rules! detected {
    ($($feature:tt),*) => {
        [$(($feature, std::arch::is_aarch64_feature_detected!($feature))),*]
    };
}

impl Isa {
    /// The best instruction set of this processor.
    pub fn detect() -> Isa {
        Isa::available().last().copied().unwrap_or(Isa::portable())
    }

    /// The set that every processor of the target has.
    pub const fn portable() -> Isa {
        Isa {
            level: Level::Portable(Portable),
        }
    }

    /// Every set that this processor has, in rising order.
    pub fn available() -> Vec<Isa> {
        let mut levels = vec![Level::Portable(Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            let all = |features: &[(&str, bool)]| features.iter().all(|&(_, has)| has);
            if all(&detected!["avx2", "fma", "f16c", "bmi2"]) {
                let avx2 = Avx2 { _private: () };
                levels.push(Level::Avx2(avx2));
                let avx512 = all(&detected!["avx512f", "avx512bw", "avx512dq", "avx512vl"]);
                let plain = Avx512Bw { base: avx2 };
                if avx512 {
                    levels.push(Level::Avx512Bw(plain));
                }
                if all(&detected!["avxvnni"]) {
                    levels.push(Level::AvxVnni(AvxVnni { base: avx2 }));
                }
                if avx512 && all(&detected!["avx512vnni"]) {
                    levels.push(Level::Avx512(Avx512 { base: plain }));
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            let neon = Neon { _private: () };
            levels.push(Level::Neon(neon));
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                levels.push(Level::NeonDotprod(NeonDotprod { base: neon }));
            }
        }
        levels.into_iter().map(|level| Isa { level }).collect()
    }

    /// The set of this name, if this processor has it.
    pub fn named(name: &str) -> Option<Isa> {
        Isa::available().into_iter().find(|isa| isa.name() == name)
    }

    /// A short name: `portable`, `avx2`, `avx512bw`, `avx-vnni`, `avx512` (with
    /// VNNI), `neon`, `neon-dotprod`.
    pub const fn name(self) -> &'static str {
        match self.level {
            Level::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bw(_) => "avx512bw",
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni(_) => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::NeonDotprod(_) => "neon-dotprod",
        }
    }

    /// The features that matter to kernels, by name, and whether this
    /// processor has them; also those that no kernel uses yet.
    pub fn features() -> Vec<(&'static str, bool)> {
        #[cfg(target_arch = "x86_64")]
        let features = detected![
            "sse4.1",
            "avx",
            "avx2",
            "fma",
            "f16c",
            "bmi2",
            "avxvnni",
            "avx512f",
            "avx512bw",
            "avx512dq",
            "avx512vl",
            "avx512vnni",
            "avx512vbmi",
            "avx512bf16",
            "avx512fp16"
        ];
        #[cfg(target_arch = "aarch64")]
        let features = detected!["neon", "fp16", "dotprod", "i8mm", "bf16", "sve", "sve2"];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let features = [];
        features.into()
    }

    pub(crate) const fn level(self) -> Level {
        self.level
    }

    pub(crate) const fn base(self) -> Base {
        match self.level {
            Level::Portable(set) => Base::Portable(set),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(set) | Level::AvxVnni(AvxVnni { base: set }) => Base::Avx2(set),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bw(set) | Level::Avx512(Avx512 { base: set }) => Base::Avx512Bw(set),
            #[cfg(target_arch = "aarch64")]
            Level::Neon(set) | Level::NeonDotprod(NeonDotprod { base: set }) => Base::Neon(set),
        }
    }

    pub(crate) const fn narrow(self) -> Narrow {
        match self.level {
            Level::Portable(set) => Narrow::Portable(set),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(set) | Level::Avx512Bw(Avx512Bw { base: set }) => Narrow::Avx2(set),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni(set) => Narrow::AvxVnni(set),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(set) => Narrow::Avx512(set),
            #[cfg(target_arch = "aarch64")]
            Level::Neon(set) => Narrow::Neon(set),
            #[cfg(target_arch = "aarch64")]
            Level::NeonDotprod(set) => Narrow::NeonDotprod(set),
        }
    }
}

/// Compiles a function once per instruction set and chooses by an [`Isa`];
/// sets that differ in dot products of integers alone share their [`Base`].
///
/// `fn name[generics][arguments for them](parameters) = body;` makes a
/// function `name` that takes an `Isa` before the parameters and calls `body`
/// with one more generic parameter and, before the parameters, a value of it:
/// [`Portable`] or what stands for one of the target's sets. Generics and
/// arguments end in a comma if there are any. `body` must be
/// `#[inline(always)]`, with all it calls, to be compiled anew.
macro_rules! per_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident $generics:tt $arguments:tt $parameters:tt = $body:ident;
    ) => {
        $crate::cpu::isa::choose! {
            base: Base { "x86_64" Avx2, "x86_64" Avx512Bw, "aarch64" Neon }
            { $generics $arguments $parameters = $body }
            $(#[$attribute])*
            $visibility fn $name $generics $arguments $parameters = $body;
        }
    };
}

/// As [`per_isa`], but once for every set: for dot products of integers.
macro_rules! per_dot_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident $generics:tt $arguments:tt $parameters:tt = $body:ident;
    ) => {
        $crate::cpu::isa::choose! {
            level: Level {
                "x86_64" Avx2, "x86_64" Avx512Bw, "x86_64" AvxVnni, "x86_64" Avx512,
                "aarch64" Neon, "aarch64" NeonDotprod
            }
            { $generics $arguments $parameters = $body }
            $(#[$attribute])*
            $visibility fn $name $generics $arguments $parameters = $body;
        }
    };
}

/// As [`per_dot_isa`], for products that take two lanes at a time: AVX-512
/// without VNNI has nothing for those that AVX2 lacks.
macro_rules! per_narrow_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident $generics:tt $arguments:tt $parameters:tt = $body:ident;
    ) => {
        $crate::cpu::isa::choose! {
            narrow: Narrow {
                "x86_64" Avx2, "x86_64" AvxVnni, "x86_64" Avx512,
                "aarch64" Neon, "aarch64" NeonDotprod
            }
            { $generics $arguments $parameters = $body }
            $(#[$attribute])*
            $visibility fn $name $generics $arguments $parameters = $body;
        }
    };
}

/// Writes the function that chooses among the sets of an enum, which a method
/// of [`Isa`] gives.
macro_rules! choose {
    (
        $method:ident: $sets:ident { $($arch:literal $set:ident),* }
        $function:tt
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident[$($generics:tt)*][$($arguments:tt)*]
        ($($parameter:ident: $type:ty),* $(,)?) = $body:ident;
    ) => {
        $(#[$attribute])*
        $visibility fn $name<$($generics)*>(
            isa: $crate::cpu::isa::Isa,
            $($parameter: $type),*
        ) {
            match isa.$method() {
                $crate::cpu::isa::$sets::Portable(set) => {
                    $body::<$($arguments)* _>(set, $($parameter),*)
                }
                $(
                    #[cfg(target_arch = $arch)]
                    $crate::cpu::isa::$sets::$set(set) => {
                        $crate::cpu::isa::compiled!($set: set, $function)
                    }
                )*
            }
        }
    };
}

/// Calls a function compiled with a set's features, given a value of the set.
macro_rules! compiled {
    (Avx2: $($call:tt)*) => {
        $crate::cpu::isa::compiled!("avx2,fma,f16c,bmi2", avx2(Avx2): $($call)*)
    };
    (AvxVnni: $($call:tt)*) => {
        $crate::cpu::isa::compiled!("avx2,fma,f16c,bmi2,avxvnni", avx_vnni(AvxVnni): $($call)*)
    };
    (Avx512Bw: $($call:tt)*) => {
        $crate::cpu::isa::compiled!(
            "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl",
            avx512bw(Avx512Bw): $($call)*
        )
    };
    (Avx512: $($call:tt)*) => {
        $crate::cpu::isa::compiled!(
            "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
            avx512(Avx512): $($call)*
        )
    };
    (Neon: $($call:tt)*) => {
        $crate::cpu::isa::compiled!("neon", neon(Neon): $($call)*)
    };
    (NeonDotprod: $($call:tt)*) => {
        $crate::cpu::isa::compiled!("neon,dotprod", neon_dotprod(NeonDotprod): $($call)*)
    };
    (
        $features:literal, $name:ident($type:ident): $set:ident, {
            [$($generics:tt)*][$($arguments:tt)*]
            ($($parameter:ident: $of:ty),* $(,)?) = $body:ident
        }
    ) => {{
        #[target_feature(enable = $features)]
        fn $name<$($generics)*>(
            set: $crate::cpu::isa::$type,
            $($parameter: $of),*
        ) {
            $body::<$($arguments)* _>(set, $($parameter),*)
        }
        // SAFETY: the value proves that the processor has the features.
        unsafe { $name::<$($arguments)*>($set, $($parameter),*) }
    }};
}

pub(crate) use {choose, compiled, per_dot_isa, per_isa, per_narrow_isa};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_set_is_the_last_available() {
        let sets = Isa::available();
        assert_eq!(sets[0], Isa::portable());
        assert_eq!(sets.last(), Some(&Isa::detect()));
        assert_eq!(Isa::portable().name(), "portable");
    }
}
