//! Pools under load: every task once, whatever else the machine does.

use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::panic::catch_unwind;
use std::thread;

use embdl_core::kernels::Parallel;
use embdl_core::runtime::RuntimeError;
use embdl_threads::{MAX_THREADS, Pool, threads};

#[test]
fn every_task_runs_once_in_many_small_jobs() {
    for count in [2, 3, 8] {
        let pool = Pool::new(count).unwrap();
        for job in 0..3000 {
            let tasks = job % 17;
            let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            let busy: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            pool.for_each(tasks, &|worker, index| {
                assert_eq!(
                    busy[worker].fetch_add(1, Ordering::SeqCst),
                    0,
                    "two on worker {worker}"
                );
                runs[index].fetch_add(1, Ordering::SeqCst);
                busy[worker].fetch_sub(1, Ordering::SeqCst);
            });
            assert!(runs.iter().all(|runs| runs.load(Ordering::SeqCst) == 1), "{count}, job {job}");
        }
    }
}

#[test]
fn threads_that_slept_take_part_again() {
    let pool = Pool::new(4).unwrap();
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(5));
        let workers: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        pool.for_each(64, &|worker, _| {
            workers[worker].fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(300));
        });
        let done: usize = workers.iter().map(|runs| runs.load(Ordering::SeqCst)).sum();
        assert_eq!(done, 64);
        assert!(workers.iter().filter(|runs| runs.load(Ordering::SeqCst) > 0).count() > 1);
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
    let pool = Pool::new(3).unwrap();
    for victim in 0..20 {
        let run = || {
            pool.for_each(20, &|_, index| {
                thread::sleep(Duration::from_micros(50));
                assert!(index != victim, "task {index}");
            });
        };
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a task panics");
        assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("task {victim}"));
        let done = AtomicUsize::new(0);
        pool.for_each(100, &|_, _| {
            done.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(done.into_inner(), 100);
    }
}

#[test]
fn panics_of_one_job_are_over_with_it() {
    let pool = Pool::new(3).unwrap();
    for _ in 0..20 {
        let run = || {
            pool.for_each(6, &|_, index| {
                thread::sleep(Duration::from_micros(200));
                panic!("task {index}");
            });
        };
        catch_unwind(AssertUnwindSafe(run)).expect_err("all tasks panic");
        // The caller's and those of two workers: none is left for a job that does not panic.
        pool.for_each(2, &|_, _| {});
    }
}

#[test]
fn more_threads_than_cores_finish_jobs_while_the_cores_are_busy() {
    let is_over = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while is_over.load(Ordering::Relaxed) == 0 {
                    core::hint::spin_loop();
                }
            });
        }
        let pool = Pool::new(8).unwrap();
        for _ in 0..200 {
            let sum = AtomicUsize::new(0);
            pool.for_each(40, &|_, index| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 40 * 39 / 2);
        }
        is_over.store(1, Ordering::Relaxed);
    });
}

#[test]
fn numbers_of_threads_have_bounds() {
    assert_eq!(threads(1).unwrap().threads(), 1);
    assert_eq!(threads(2).unwrap().threads(), 2);
    assert!(threads(0).unwrap().threads() >= 1);
    let refusal = threads(MAX_THREADS + 1).err();
    let asked = MAX_THREADS + 1;
    assert_eq!(refusal, Some(RuntimeError::Threads { asked, allowed: MAX_THREADS }));
}
