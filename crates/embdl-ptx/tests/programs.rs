//! Small programs: what they compute, and what is refused.

use embdl_ptx::{Fault, Launch, LaunchError, Limits, Memory, ParseError, Problem, Program, Stats};

/// A kernel of one parameter, the address of words, with these instructions.
fn kernel(code: &str) -> String {
    format!(
        ".version 6.5\n.target sm_62\n.address_size 64\n.shared .align 4 .b8 pool[256];\n\
         .visible .entry k(.param .u64 at) .maxntid 64, 1, 1\n{{\n\
         .reg .pred %p<4>; .reg .b16 %rs<4>; .reg .b32 %r<16>; .reg .f32 %f<8>; .reg .b64 %rd<8>;\n\
         ld.param.u64 %rd0, [at];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %rd1, %r0, 4;\n\
         add.s64 %rd0, %rd0, %rd1;\n{code}\nret;\n}}"
    )
}

const BASE: u64 = 1 << 40;

fn run_on(code: &str, threads: u32, words: &mut [u32]) -> Result<Stats, LaunchError> {
    let program = Program::parse(&kernel(code)).unwrap_or_else(|error| panic!("{error}\n{code}"));
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut memory = Memory::default();
    memory.map(BASE, &mut bytes).unwrap();
    let launch = Launch { grid: [1, 1, 1], block: [threads, 1, 1], params: &BASE.to_le_bytes() };
    let limits = Limits { instructions: 100_000 };
    let result = program.entry("k").unwrap().launch(&launch, &mut memory, &limits);
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into().unwrap());
    }
    result
}

fn run<const N: usize>(code: &str, mut words: [u32; N]) -> [u32; N] {
    let threads = u32::try_from(N).unwrap();
    run_on(code, threads, &mut words).unwrap_or_else(|error| panic!("{error}\n{code}"));
    words
}

fn fault(code: &str, threads: u32) -> Fault {
    run_on(code, threads, &mut [0; 64]).unwrap_err().fault
}

#[test]
fn paths_part_and_meet_again() {
    // Odd threads count down from their number; all add 100 once they are together again.
    let code = "and.b32 %r1, %r0, 1; setp.eq.s32 %p1, %r1, 0; mov.u32 %r2, 0; @%p1 bra EVEN;
        mov.u32 %r3, %r0;
        LOOP: add.s32 %r2, %r2, 10; sub.s32 %r3, %r3, 1; setp.gt.s32 %p2, %r3, 0; @%p2 bra LOOP;
        bra.uni JOIN;
        EVEN: mov.u32 %r2, 7;
        JOIN: add.s32 %r2, %r2, 100; st.global.u32 [%rd0], %r2;";
    assert_eq!(run(code, [0; 6]), [107, 110, 107, 130, 107, 150]);
}

#[test]
fn barriers_let_threads_see_what_others_stored() {
    let code = "mov.u64 %rd2, pool; add.s64 %rd2, %rd2, %rd1; st.shared.u32 [%rd2], %r0; bar.sync 0;
        xor.b32 %r1, %r0, 3; mul.wide.u32 %rd3, %r1, 4; mov.u64 %rd4, pool; add.s64 %rd3, %rd3, %rd4;
        ld.shared.u32 %r2, [%rd3]; st.global.u32 [%rd0], %r2;";
    assert_eq!(run(code, [0; 4]), [3, 2, 1, 0]);
}

#[test]
fn shared_memory_is_no_number_at_first() {
    assert_eq!(run("ld.shared.u32 %r1, [pool+8]; st.global.u32 [%rd0], %r1;", [0]), [u32::MAX]);
}

#[test]
fn shuffles_exchange_within_warps() {
    let code = "shfl.sync.bfly.b32 %r1, %r0, 5, 31, -1; st.global.u32 [%rd0], %r1;";
    let mut words = [0; 64];
    run_on(code, 64, &mut words).unwrap();
    assert!((0..64).all(|at| words[at as usize] == at ^ 5), "{words:?}");
    assert_eq!(fault(code, 63), Fault::Shuffle(1));
    let partial = format!("setp.lt.u32 %p1, %r0, 3; @%p1 bra END; {code} END:");
    assert_eq!(fault(&partial, 64), Fault::Shuffle(0));
}

#[test]
fn vectors_bytes_and_halves() {
    let code = "ld.global.v2.u32 {%r1, %r2}, [%rd0]; mov.b32 {%rs0, %rs1}, %r1;
        mov.b32 %r3, {%rs1, %rs0}; st.global.v2.u32 [%rd0], {%r3, 5}; ld.global.s8 %r4, [%rd0+7];
        st.global.u8 [%rd0+6], 255; ld.global.nc.u16 %rs2, [%rd0+2]; cvt.u32.u16 %r5, %rs2;
        st.global.u16 [%rd0+4], %rs2;";
    let code = &format!(
        "{code} {{ .reg .b16 tmp; mov.b32 {{tmp, %rs3}}, %r1; }} st.global.u16 [%rd0+8], %rs3;"
    );
    let mut words = [0x1122_3344, 0, 0];
    run_on(code, 1, &mut words).unwrap();
    assert_eq!(words, [0x3344_1122, 0x00ff_3344, 0x1122]);
}

#[test]
fn loads_fill_wider_registers_by_their_sign() {
    let code = "ld.global.s32 %rd2, [%rd0]; shr.s64 %rd2, %rd2, 32; cvt.u32.u64 %r1, %rd2;
        ld.global.u32 %rd3, [%rd0]; shr.s64 %rd3, %rd3, 32; cvt.u32.u64 %r2, %rd3;
        st.global.v2.u32 [%rd0], {%r1, %r2};";
    let mut words = [0x8000_0000, 7];
    run_on(code, 1, &mut words).unwrap();
    assert_eq!(words, [u32::MAX, 0]);
}

#[test]
fn predicates_guard_any_instruction() {
    let code =
        "setp.gt.u32 %p1, %r0, 1; mov.u32 %r1, 1; @%p1 mov.u32 %r1, 2; @!%p1 add.s32 %r1, %r1, -4;
        selp.b32 %r1, %r1, 0, %p1; st.global.u32 [%rd0], %r1;";
    assert_eq!(run(code, [9; 3]), [0, 0, 2]);
}

#[test]
fn accesses_beside_memory_and_across_are_faults() {
    let load = |offset: i64| fault(&format!("ld.global.u32 %r1, [%rd0+{offset}];"), 1);
    let address = |address| Fault::Address { thread: 0, address, bytes: 4, space: "global" };
    assert_eq!(load(256), address(BASE + 256));
    assert_eq!(load(-4), address(BASE - 4));
    assert_eq!(load(6), Fault::Alignment { thread: 0, address: BASE + 6, bytes: 4 });
    let fault_of = |code: &str| fault(code, 1);
    let shared = Fault::Address { thread: 0, address: 256, bytes: 4, space: "shared" };
    assert_eq!(fault_of("st.shared.u32 [pool+256], %r0;"), shared);
    let vector = Fault::Alignment { thread: 0, address: BASE + 8, bytes: 16 };
    assert_eq!(fault_of("ld.global.v4.u32 {%r1,%r2,%r3,%r4}, [%rd0+8];"), vector);
}

#[test]
fn kernels_that_do_not_end_are_stopped() {
    assert_eq!(fault("L: bra L;", 1), Fault::Instructions(100_000));
    let program = Program::parse(".entry k() { }").unwrap();
    let launch = Launch { grid: [1; 3], block: [1; 3], params: &[] };
    let error = program.entries()[0].launch(&launch, &mut Memory::default(), &Limits::default());
    assert_eq!(error.unwrap_err().fault, Fault::End);
}

#[test]
fn launches_that_do_not_fit_are_refused() {
    let program = Program::parse(&kernel("")).unwrap();
    let entry = program.entry("k").unwrap();
    assert_eq!((program.version(), program.target()), ((6, 5), "sm_62"));
    assert_eq!((entry.params_bytes(), entry.shared_bytes()), (8, 256));
    let launch = |grid, block, params: &[u8]| {
        let launch = Launch { grid, block, params };
        entry.launch(&launch, &mut Memory::default(), &Limits::default()).unwrap_err().fault
    };
    let too_many = Fault::Block { threads: 65, allowed: 64 };
    assert_eq!(launch([1; 3], [65, 1, 1], &[0; 8]), too_many);
    assert_eq!(launch([1; 3], [0, 1, 1], &[0; 8]), Fault::Block { threads: 0, allowed: 64 });
    assert_eq!(launch([1, 0, 1], [1; 3], &[0; 8]), Fault::Grid([1, 0, 1]));
    assert_eq!(launch([1, 65_536, 1], [1; 3], &[0; 8]), Fault::Grid([1, 65_536, 1]));
    assert_eq!(launch([1; 3], [1; 3], &[0; 7]), Fault::Params { found: 7, expected: 8 });
}

#[test]
fn what_is_no_program_says_where() {
    let problem = |code: &str| Program::parse(&kernel(code)).unwrap_err();
    let error = problem("\nfoo.u32 %r1, %r2;");
    assert_eq!(error, ParseError { line: 13, problem: Problem::Instruction("foo.u32".into()) });
    for (code, name) in [
        ("add.s32 %r1, %r2, %r16;", "%r16"),
        ("add.s32 %r1, %r2, %rd1;", "%rd1"),
        ("add.s32 %p1, %r2, %r1;", "%p1"),
        ("bra NOWHERE;", "NOWHERE"),
        ("mov.u32 %r1, %clock;", "%clock"),
    ] {
        assert_eq!(problem(code).problem, Problem::Name(name.into()), "{code}");
    }
    for code in [
        "ld.global.u64 %r1, [%rd0];",
        "ld.global.v4.u64 {%rd1, %rd1, %rd1, %rd1}, [%rd0];",
        "ld.global.u32 5, [%rd0];",
        "ld.shared.nc.u32 %r1, [%rd0];",
        "cvt.f32.u32 %f1, %r1;",
        "cvt.rni.s32.f32 %r1, %f1;",
        "setp.xx.u32 %p1, %r1, %r2;",
        "shfl.sync.bfly.b32 %r1, %r0, 5, 15, -1;",
    ] {
        assert!(matches!(problem(code).problem, Problem::Instruction(_)), "{code}");
    }
    for text in [
        ".entry k() { .reg .b32 %r<70000>; }",
        ".entry k() { .reg .b32 %r<18446744073709551615>; }",
        ".entry k(.param .b8 a[70000]) { }",
        ".shared .align 8 .b8 a[65530]; .shared .align 8 .b8 b[9];",
        ".shared .align 3 .b8 a[8];",
        ".entry k() { ret",
        ".entry k() { L: L: ret; }",
        ".entry k() { ret; } .entry k() { ret; }",
        ".version six",
        "hello",
        "\u{e9}",
    ] {
        Program::parse(text).expect_err(text);
    }
}

/// Whatever is cut out of or changed in a program, reading and running it ends.
#[test]
fn damaged_programs_end_too() {
    let code =
        "setp.gt.u32 %p1, %r0, 1; @%p1 bra L; ld.global.v2.u32 {%r1, %r2}, [%rd0]; bar.sync 0;
        L: mad.lo.s32 %r3, %r0, 7, %r1; st.global.u32 [%rd0], %r3;";
    let text = kernel(code);
    let mut ran = 0;
    for at in 0..text.len() {
        for change in ["", "0", "9", ";", "%", "{", "-"] {
            let Some(damaged) = text.get(..at).zip(text.get(at + 1..)) else { continue };
            let damaged = format!("{}{change}{}", damaged.0, damaged.1);
            let Ok(program) = Program::parse(&damaged) else { continue };
            for entry in program.entries() {
                let params = vec![0; entry.params_bytes()];
                let launch = Launch { grid: [2, 1, 1], block: [4, 1, 1], params: &params };
                let limits = Limits { instructions: 10_000 };
                drop(entry.launch(&launch, &mut Memory::default(), &limits));
                ran += 1;
            }
        }
    }
    assert!(ran > 100, "{ran} programs were read");
}
