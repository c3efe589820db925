//! Tests of the frame log: bounds, lag, starts, and (with the `model` feature) every interleaving that loom finds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Item {
    id: u64,
    size: usize,
    start: bool,
}

impl Entry for Item {
    fn bytes(&self) -> usize {
        self.size
    }
    fn is_start(&self) -> bool {
        self.start
    }
}

fn item(id: u64, start: bool) -> Item {
    Item { id, size: 10, start }
}

#[cfg(feature = "model")]
mod model {
    use super::*;
    use loom::future::block_on;
    use loom::thread;

    /// Every interleaving with up to three preemptions: more find nothing new in three threads and take hours.
    fn explore(check: impl Fn() + Send + Sync + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(check);
    }

    #[test]
    fn a_waiting_reader_never_misses_a_push_or_the_close() {
        explore(|| {
            let log = Log::new(1000, &Budget::new(1000));
            let mut cursor = log.reader().cursor(From::Oldest);
            let writer = thread::spawn(move || {
                log.push(item(1, true));
                log.push(item(2, false));
            });
            block_on(async {
                assert_eq!(cursor.next().await.unwrap().unwrap().id, 1);
                assert_eq!(cursor.next().await.unwrap().unwrap().id, 2);
                assert_eq!(cursor.next().await.unwrap(), None);
            });
            writer.join().unwrap();
        });
    }

    #[test]
    fn a_reader_of_a_bounded_log_ends_in_order_or_lagged() {
        explore(|| {
            let log = Log::new(10, &Budget::new(1000));
            let mut cursor = log.reader().cursor(From::Oldest);
            let writer = thread::spawn(move || {
                log.push(item(1, true));
                log.push(item(2, true));
            });
            let mut last = 0;
            block_on(async {
                loop {
                    match cursor.next().await {
                        Ok(Some(entry)) => {
                            assert!(entry.id > last);
                            last = entry.id;
                        }
                        Ok(None) => break,
                        Err(lagged) => assert_eq!(cursor.skip_to_newest_start(), lagged.missed),
                    }
                }
            });
            assert_eq!(last, 2);
            writer.join().unwrap();
        });
    }
}

#[cfg(not(feature = "model"))]
mod plain {
    use super::*;
    use std::sync::Arc as StdArc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: StdArc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll(cursor: &mut Cursor<Item>) -> Poll<Result<Option<Item>, Lagged>> {
        cursor.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    fn ids(cursor: &mut Cursor<Item>) -> Vec<u64> {
        let mut out = Vec::new();
        while let Poll::Ready(Ok(Some(entry))) = poll(cursor) {
            out.push(entry.id);
        }
        out
    }

    #[test]
    fn readers_begin_where_they_ask_to() {
        let log = Log::new(1000, &Budget::new(1000));
        (0..5).for_each(|id| log.push(item(id, id == 0 || id == 3)));
        assert_eq!(ids(&mut log.reader().cursor(From::Oldest)), [0, 1, 2, 3, 4]);
        assert_eq!(ids(&mut log.reader().cursor(From::NewestStart)), [3, 4]);
        assert_eq!(ids(&mut log.reader().cursor(From::Next)), Vec::<u64>::new());
    }

    #[test]
    fn two_groups_are_kept_and_no_more() {
        let log = Log::new(1 << 20, &Budget::new(1 << 20));
        (0..1_000).for_each(|id| log.push(item(id, id % 300 == 0)));
        assert_eq!(ids(&mut log.reader().cursor(From::Oldest)), (600..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_source_of_nothing_but_starts_leaves_its_readers_time() {
        let log = Log::new(1 << 20, &Budget::new(1 << 20));
        let mut cursor = log.reader().cursor(From::Oldest);
        (0..ENTRIES_KEPT).for_each(|id| log.push(item(id, true)));
        assert_eq!(ids(&mut cursor), (0..ENTRIES_KEPT).collect::<Vec<_>>());
        (0..=ENTRIES_KEPT).for_each(|id| log.push(item(id, true)));
        assert_eq!(poll(&mut cursor), Poll::Ready(Err(Lagged { missed: 1 })));
    }

    #[test]
    fn a_slow_reader_lags_and_goes_on_at_the_newest_start() {
        let budget = Budget::new(1000);
        let log = Log::new(35, &budget);
        let mut cursor = log.reader().cursor(From::Oldest);
        (0..6).for_each(|id| log.push(item(id, id % 2 == 0)));
        assert_eq!(budget.used(), 30);
        assert_eq!(poll(&mut cursor), Poll::Ready(Err(Lagged { missed: 3 })));
        assert_eq!(cursor.skip_to_newest_start(), 4);
        assert_eq!(ids(&mut cursor), [4, 5]);
        drop(log);
        assert_eq!(poll(&mut cursor), Poll::Ready(Ok(None)));
    }

    #[test]
    fn an_exhausted_process_budget_leaves_the_newest_group() {
        let budget = Budget::new(45);
        let other = budget.take(30);
        let log = Log::new(1000, &budget);
        (0..4).for_each(|id| log.push(item(id, id == 0 || id == 2)));
        assert_eq!(ids(&mut log.reader().cursor(From::Oldest)), [2, 3]);
        drop(other);
        drop(log);
        assert_eq!(budget.used(), 0, "cursors keep no bytes once the log and they are gone");
    }

    #[test]
    fn one_push_wakes_each_waiting_reader_once() {
        let log = Log::new(1000, &Budget::new(1000));
        let counts: Vec<_> = (0..3).map(|_| StdArc::new(Count(AtomicUsize::new(0)))).collect();
        let mut cursors: Vec<_> = counts.iter().map(|_| log.reader().cursor(From::Next)).collect();
        for (cursor, count) in cursors.iter_mut().zip(&counts) {
            let waker = Waker::from(count.clone());
            for _ in 0..2 {
                assert!(cursor.poll_next(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        drop(cursors.pop());
        log.push(item(0, true));
        log.push(item(1, false));
        let woken: Vec<_> = counts.iter().map(|c| c.0.load(Ordering::SeqCst)).collect();
        assert_eq!(woken, [1, 1, 0]);
    }

    #[test]
    fn a_look_shows_what_is_there_once_and_tells_the_end() {
        let log = Log::new(30, &Budget::new(1000));
        let mut cursor = log.reader().cursor(From::Oldest);
        let mut seen = Vec::new();
        let mut look = |cursor: &mut Cursor<Item>| {
            let looked = cursor.look(|item| seen.push(item.id));
            (looked, std::mem::take(&mut seen))
        };
        assert_eq!(look(&mut cursor), (Ok(Some(0)), vec![]));
        (0..2).for_each(|id| log.push(item(id, id == 0)));
        assert_eq!(look(&mut cursor), (Ok(Some(2)), vec![0, 1]));
        (2..7).for_each(|id| log.push(item(id, false)));
        assert_eq!(look(&mut cursor), (Err(Lagged { missed: 2 }), vec![]));
        cursor.skip_to_newest_start();
        log.push(item(7, true));
        log.close();
        assert_eq!(look(&mut cursor), (Ok(Some(1)), vec![7]));
        assert_eq!(look(&mut cursor), (Ok(None), vec![]));
    }

    #[tokio::test]
    async fn readers_on_other_tasks_get_everything_in_order() {
        let log = Log::<Item>::new(1 << 20, &Budget::new(1 << 20));
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let mut cursor = log.reader().cursor(From::Oldest);
            readers.spawn(async move {
                let mut seen = Vec::new();
                while let Some(entry) = cursor.next().await.unwrap() {
                    seen.push(entry.id);
                }
                seen
            });
        }
        for id in 0..1000 {
            log.push(item(id, id == 0));
            if id % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(log);
        while let Some(seen) = readers.join_next().await {
            assert_eq!(seen.unwrap(), (0..1000).collect::<Vec<_>>());
        }
    }
}
