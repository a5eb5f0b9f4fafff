//! Instruction sets: which one this processor has, and compiling a kernel for
//! each.
//!
//! A kernel is written once, in portable Rust, and compiled several times with
//! more instructions allowed each time ([`per_isa`]). Rust neither reorders
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

/// What [`per_isa`] compiles for, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
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

/// Proves that the processor has what [`Avx2`] stands for, and AVX-512 F, BW,
/// DQ, VL and VNNI: only [`Isa::available`] makes one.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512 {
    _private: (),
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
    _private: (),
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
        let mut sets = vec![Isa::portable()];
        #[cfg(target_arch = "x86_64")]
        {
            let all = |features: &[(&str, bool)]| features.iter().all(|&(_, has)| has);
            if all(&detected!["avx2", "fma", "f16c", "bmi2"]) {
                sets.push(Isa {
                    level: Level::Avx2(Avx2 { _private: () }),
                });
                let avx512 = detected!["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"];
                if all(&avx512) {
                    sets.push(Isa {
                        level: Level::Avx512(Avx512 { _private: () }),
                    });
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            sets.push(Isa {
                level: Level::Neon(Neon { _private: () }),
            });
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                sets.push(Isa {
                    level: Level::NeonDotprod(NeonDotprod { _private: () }),
                });
            }
        }
        sets
    }

    /// The set of this name, if this processor has it.
    pub fn named(name: &str) -> Option<Isa> {
        Isa::available().into_iter().find(|isa| isa.name() == name)
    }

    /// A short name: `portable`, `avx2`, `avx512`, `neon`, `neon-dotprod`.
    pub const fn name(self) -> &'static str {
        match self.level {
            Level::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
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
}

/// Compiles a function once per instruction set and chooses by an [`Isa`].
///
/// `fn name[generics][arguments for them](parameters) = body;` makes a
/// function `name` that takes an `Isa` before the parameters and calls `body`
/// with one more generic parameter and, before the parameters, a value of it:
/// [`Portable`] or what stands for one of the target's sets. Generics and arguments end in a comma
/// if there are any. `body` must be `#[inline(always)]`, with all it calls, to
/// be compiled anew.
macro_rules! per_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident[$($generics:tt)*][$($arguments:tt)*]
        ($($parameter:ident: $type:ty),* $(,)?) = $body:ident;
    ) => {
        $(#[$attribute])*
        $visibility fn $name<$($generics)*>(
            isa: $crate::cpu::isa::Isa,
            $($parameter: $type),*
        ) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,bmi2")]
            fn avx2<$($generics)*>(
                set: $crate::cpu::isa::Avx2,
                $($parameter: $type),*
            ) {
                $body::<$($arguments)* _>(set, $($parameter),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(
                enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
            )]
            fn avx512<$($generics)*>(
                set: $crate::cpu::isa::Avx512,
                $($parameter: $type),*
            ) {
                $body::<$($arguments)* _>(set, $($parameter),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            fn neon<$($generics)*>(
                set: $crate::cpu::isa::Neon,
                $($parameter: $type),*
            ) {
                $body::<$($arguments)* _>(set, $($parameter),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon,dotprod")]
            fn neon_dotprod<$($generics)*>(
                set: $crate::cpu::isa::NeonDotprod,
                $($parameter: $type),*
            ) {
                $body::<$($arguments)* _>(set, $($parameter),*)
            }
            match isa.level() {
                $crate::cpu::isa::Level::Portable(set) => {
                    $body::<$($arguments)* _>(set, $($parameter),*)
                }
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::isa::Level::Avx2(set) => {
                    // SAFETY: `set` proves that the processor has the features.
                    unsafe { avx2::<$($arguments)*>(set, $($parameter),*) }
                }
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::isa::Level::Avx512(set) => {
                    // SAFETY: `set` proves that the processor has the features.
                    unsafe { avx512::<$($arguments)*>(set, $($parameter),*) }
                }
                #[cfg(target_arch = "aarch64")]
                $crate::cpu::isa::Level::Neon(set) => {
                    // SAFETY: `set` proves that the processor has the features.
                    unsafe { neon::<$($arguments)*>(set, $($parameter),*) }
                }
                #[cfg(target_arch = "aarch64")]
                $crate::cpu::isa::Level::NeonDotprod(set) => {
                    // SAFETY: `set` proves that the processor has the features.
                    unsafe { neon_dotprod::<$($arguments)*>(set, $($parameter),*) }
                }
            }
        }
    };
}

pub(crate) use per_isa;

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
