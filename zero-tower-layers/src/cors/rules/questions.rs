//! Questions whose answers are waited for, and the memory they are waited for in.
//!
//! The future of a user's predicate is of a type that the layer does not have, so it is boxed. A box whose
//! question has been answered, or given up, serves the next one: after the first few requests none is taken
//! from the heap. All that belongs to a question lies there, so that requests without one stay small. Knows
//! nothing of what is done with an answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use http::header::HeaderValue;
use http::request::Parts;
use pin_project_lite::pin_project;

/// Places kept that nobody waits in. As many requests may wait for a predicate at once without taking memory.
const IDLE_MAX: usize = 64;

type Boxed = Pin<Box<dyn Place>>;

/// One predicate, and the places in which it is asked.
pub(super) struct Questions {
    /// Tried and not waited for: another place is sooner made than a lock is got.
    idle: Mutex<Vec<Boxed>>,
    new_place: Box<dyn Fn() -> Boxed + Send + Sync>,
}

impl Questions {
    pub(super) fn new<F, Fut>(predicate: F) -> Self
    where
        F: FnOnce(HeaderValue, &Parts) -> Fut + Send + Sync + 'static + Clone,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self {
            idle: Mutex::new(Vec::with_capacity(IDLE_MAX)),
            new_place: Box::new(move || {
                Box::pin(Asking {
                    predicate: predicate.clone(),
                    future: None,
                    question: None,
                })
            }),
        }
    }

    /// Asks. The predicate is called now, and what it returns is polled with the answer.
    pub(super) fn ask(self: &Arc<Self>, origin: &HeaderValue, parts: &Parts) -> Answer {
        let idle = self.idle.try_lock().ok().and_then(|mut idle| idle.pop());
        let mut place = idle.unwrap_or_else(|| (self.new_place)());
        let question = Question {
            origin: origin.clone(),
            of: Arc::clone(self),
        };
        place.as_mut().ask(question, parts);
        Answer(Some(place))
    }

    fn give_back(&self, place: Boxed) {
        if let Ok(mut idle) = self.idle.try_lock()
            && idle.len() < IDLE_MAX
        {
            idle.push(place);
        }
    }
}

/// What has been asked and not been answered. Dropped, it gives its place, there until then, to another.
pub(in crate::cors) struct Answer(Option<Boxed>);

impl Answer {
    /// The origin, if it is allowed. To be called until it is ready, and not again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<HeaderValue>> {
        let place = self.0.as_mut().expect("there until dropped");
        place.as_mut().poll_answer(cx)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // What is the user's is dropped before the place is another's, and without the lock.
        if let Some(mut place) = self.0.take()
            && let Some(question) = place.as_mut().forget()
        {
            question.of.give_back(place);
        }
    }
}

/// What is asked, and where. An idle place has none: it would keep alive what keeps it.
struct Question {
    origin: HeaderValue,
    of: Arc<Questions>,
}

/// Where one question at a time is waited for, whatever the predicate's types.
trait Place: Send {
    fn ask(self: Pin<&mut Self>, question: Question, parts: &Parts);
    /// The origin, if it is allowed.
    fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HeaderValue>>;
    /// Drops the future, and gives back what was asked.
    fn forget(self: Pin<&mut Self>) -> Option<Question>;
}

pin_project! {
    struct Asking<F, Fut> {
        predicate: F,
        #[pin]
        future: Option<Fut>,
        question: Option<Question>,
    }
}

impl<F, Fut> Place for Asking<F, Fut>
where
    F: FnOnce(HeaderValue, &Parts) -> Fut + Send + Clone,
    Fut: Future<Output = bool> + Send,
{
    fn ask(self: Pin<&mut Self>, question: Question, parts: &Parts) {
        let mut this = self.project();
        let future = this.predicate.clone()(question.origin.clone(), parts);
        this.future.set(Some(future));
        *this.question = Some(question);
    }

    fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HeaderValue>> {
        let this = self.project();
        let future = this.future.as_pin_mut().expect("asked when taken");
        let is_allowed = ready!(future.poll(cx));
        let question = this.question.as_ref().filter(|_| is_allowed);
        Poll::Ready(question.map(|question| question.origin.clone()))
    }

    fn forget(self: Pin<&mut Self>) -> Option<Question> {
        let mut this = self.project();
        this.future.set(None);
        this.question.take()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn ask(questions: &Arc<Questions>, origin: &'static str) -> Answer {
        let (parts, ()) = http::Request::new(()).into_parts();
        questions.ask(&HeaderValue::from_static(origin), &parts)
    }

    /// Whether the origin is allowed.
    fn poll(answer: &mut Answer) -> Poll<bool> {
        let answer = answer.poll(&mut Context::from_waker(Waker::noop()));
        answer.map(|origin| origin.is_some())
    }

    fn idle(questions: &Questions) -> usize {
        questions.idle.lock().unwrap().len()
    }

    #[test]
    fn places_serve_one_question_after_another() {
        let questions = Arc::new(Questions::new(
            |origin: HeaderValue, _: &Parts| async move { origin == "yes" },
        ));
        let mut answers = [ask(&questions, "yes"), ask(&questions, "no")];
        assert_eq!(idle(&questions), 0);
        assert_eq!(answers.each_mut().map(poll), [true, false].map(Poll::Ready));
        drop(answers);
        assert_eq!(idle(&questions), 2);
        assert_eq!(poll(&mut ask(&questions, "yes")), Poll::Ready(true));
        assert_eq!(idle(&questions), 2);

        let many: Vec<_> = (0..2 * IDLE_MAX).map(|_| ask(&questions, "no")).collect();
        drop(many);
        assert_eq!(idle(&questions), IDLE_MAX);
    }

    /// A place keeps nothing of a question, answered or given up.
    #[test]
    fn what_a_question_holds_goes_with_it() {
        let held = Arc::new(());
        let of_predicate = Arc::clone(&held);
        let questions = Arc::new(Questions::new(move |origin: HeaderValue, _: &Parts| {
            let of_question = Arc::clone(&of_predicate);
            async move {
                if origin == "never" {
                    std::future::pending::<()>().await;
                }
                Arc::strong_count(&of_question) > 0
            }
        }));
        let mut answer = ask(&questions, "never");
        let without_questions = |places: usize| 2 + places;
        assert_eq!(poll(&mut answer), Poll::Pending);
        assert_eq!(Arc::strong_count(&held), without_questions(1) + 1);
        drop(answer);
        assert_eq!(Arc::strong_count(&held), without_questions(1));
        assert_eq!(poll(&mut ask(&questions, "now")), Poll::Ready(true));
        assert_eq!(Arc::strong_count(&held), without_questions(1));
        drop(questions);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
