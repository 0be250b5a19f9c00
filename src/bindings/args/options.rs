//! The options of a pool: which there are, and how a wrong one is refused.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyIterator, PyString, PyTuple};

use crate::bindings::args::clock::Clock;
use crate::bindings::args::hooks::Hooks;
use crate::bindings::args::timeout::{Timeout, to_nanos};
use crate::bindings::ffi::interrupt::failure;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::shown::shown;
use crate::bindings::ffi::values::{Message, attribute, text};
use crate::pool::{Nanos, Order, Rules, TimeSlice};

/// How long a thread with short bodies may take its object back, with `fairness="adaptive"`. `DESIGN.md` has the
/// measurements.
const PATIENCE: TimeSlice = TimeSlice { body: 10_000, whole: 500_000 };

/// The default of `max_size`, with a factory.
const MAX_SIZE: usize = 10;

/// Every option, in the order of the signature.
const NAMES: [&str; 21] = [
    "factory",
    "min_size",
    "max_size",
    "name",
    "timeout",
    "max_waiting",
    "order",
    "fairness",
    "check",
    "check_after",
    "check_timeout",
    "reset",
    "dispose",
    "create_timeout",
    "max_idle",
    "max_lifetime",
    "jitter",
    "leak_after",
    "track",
    "timing",
    "clock",
];

/// What a pool keeps of its options, beside rules and hooks.
pub(crate) struct Options {
    /// How many seconds to wait by default; none is no limit.
    pub(crate) timeout: Option<f64>,
    pub(crate) name: Option<String>,
    pub(crate) order: Order,
    pub(crate) fairness: Fairness,
    /// Whether each lease notes where in the program it was taken.
    pub(crate) track: bool,
    pub(crate) clock: Option<Py<Clock>>,
    /// The hooks that are coroutine functions, by name. Then all background work is done by tasks.
    pub(crate) async_hooks: Vec<&'static str>,
}

impl Options {
    pub(crate) const DEFAULT: Options = Options {
        timeout: Some(30.0),
        name: None,
        order: Order::Fifo,
        fairness: Fairness::DEFAULT,
        track: false,
        clock: None,
        async_hooks: Vec::new(),
    };
}

/// All that the constructor was given.
pub(crate) struct Configuration {
    pub(crate) options: Options,
    pub(crate) rules: Rules,
    pub(crate) hooks: Hooks,
}

/// `fairness`: what it is called, and what it means.
#[derive(Clone, Copy)]
pub(crate) struct Fairness(pub(crate) &'static str, pub(crate) TimeSlice);

impl Fairness {
    pub(crate) const DEFAULT: Fairness = Fairness("adaptive", PATIENCE);
}

/// The objects that the constructor was given, by position or by name.
pub(crate) fn objects<'py>(
    args: &Bound<'py, PyTuple>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let named = Arguments(options).get("objects")?;
    match (args.len(), named) {
        (0, named) => Ok(named),
        (1, None) => args.get_item(0).map(Some),
        (1, Some(_)) => Err(PyTypeError::new_err(Message::of("Pool() got multiple values for argument 'objects'"))),
        (given, _) => {
            let message = format!("Pool() takes one positional argument, the objects, but {given} were given");
            Err(PyTypeError::new_err(Message::of(message)))
        }
    }
}

/// Iterates over the objects. Who has other pools in mind passes a factory first.
pub(crate) fn iterate<'py>(objects: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    objects.try_iter().map_err(|error| {
        if !(error.is_instance_of::<PyTypeError>(objects.py()) && objects.is_callable()) {
            return error;
        }
        let Ok(shown) = objects.repr() else { return error };
        let name = attribute(objects, c"__name__").map_or_else(|_| shown.to_string(), |name| name.to_string());
        PyTypeError::new_err(Message::of(format!(
            "objects must be iterable, not {shown}; did you mean factory={name}?"
        )))
    })
}

/// Reads the keyword arguments of the constructor.
pub(crate) fn read(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<Configuration> {
    let given = Arguments(given);
    given.only_known()?;
    let fairness = given.choice("fairness", [(Fairness::DEFAULT.0, PATIENCE), ("strict", TimeSlice::NONE)])?;
    let order = given.choice("order", [("fifo", Order::Fifo), ("lifo", Order::Lifo)])?;
    let mut options = Options {
        timeout: given.seconds("timeout", Options::DEFAULT.timeout)?,
        name: given.name()?,
        order: order.map_or(Order::Fifo, |(_, order)| order),
        fairness: fairness.map_or(Fairness::DEFAULT, |(name, patience)| Fairness(name, patience)),
        track: given.flag("track")?,
        clock: given.clock()?,
        async_hooks: Vec::new(),
    };
    let hooks = Hooks {
        factory: given.hook("factory")?,
        check: given.hook("check")?,
        reset: given.hook("reset")?,
        dispose: given.hook("dispose")?,
    };
    for (name, hook) in hooks.named() {
        if let Some(hook) = hook
            && is_async(hook.bind(py))?
        {
            options.async_hooks.push(name);
        }
    }
    let makes = hooks.factory.is_some();
    let sizes = Sizes {
        makes,
        min: given.count("min_size", 0)?,
        max: given.count("max_size", if makes { MAX_SIZE } else { usize::MAX })?,
    };
    given.needs("min_size", "factory")?;
    given.needs("max_size", "factory")?;
    sizes.check()?;
    for (option, other) in [
        ("create_timeout", "factory"),
        ("max_idle", "factory"),
        ("max_lifetime", "factory"),
        ("jitter", "max_lifetime"),
        ("check_after", "check"),
    ] {
        given.needs(option, other)?;
    }
    if hooks.check.is_none() && hooks.reset.is_none() {
        given.needs("check_timeout", "check")?;
    }
    let rules = Rules {
        borrows: false,
        makes,
        min_size: sizes.min,
        max_size: sizes.max,
        max_waiting: given.count("max_waiting", usize::MAX)?,
        check_after: match hooks.check {
            Some(_) => Some(given.check_after()?),
            None => None,
        },
        max_idle: given.nanos("max_idle", None)?,
        max_lifetime: given.some_time("max_lifetime", None)?,
        jitter: given.fraction("jitter", 0.1)?,
        make_limit: given.some_time("create_timeout", Some(30.0))?,
        check_limit: given.some_time("check_timeout", Some(5.0))?,
        leak_after: given.some_time("leak_after", None)?,
        // With async hooks nothing takes the fast path: a thread that asks is told why it cannot.
        notes_leases: given.flag("timing")? || options.track || !options.async_hooks.is_empty(),
        resets: hooks.reset.is_some(),
        disposes: hooks.dispose.is_some(),
    };
    Ok(Configuration { options, rules, hooks })
}

/// Whether calling the hook makes a coroutine.
fn is_async(hook: &Bound<'_, PyAny>) -> PyResult<bool> {
    python_side::IS_ASYNC_CALLABLE.call(hook.py(), &[hook])?.is_truthy()
}

/// `min_size` and `max_size`, from the constructor or from `resize`.
pub(crate) struct Sizes {
    pub(crate) makes: bool,
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl Sizes {
    pub(crate) fn check(&self) -> PyResult<()> {
        let Sizes { makes, min, max } = self;
        if *makes && *max == 0 {
            return Err(PyValueError::new_err(Message::of("max_size must be at least 1, not 0")));
        }
        if min > max {
            return Err(PyValueError::new_err(Message::of(format!(
                "min_size must not exceed max_size, but {min} > {max}"
            ))));
        }
        Ok(())
    }
}

/// A whole number that is not negative.
pub(crate) fn count(option: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let wrong = |class: fn(Message) -> PyErr| match shown(value) {
        Ok(shown) => class(Message::of(format!("{option} must be an int >= 0, not {shown}"))),
        Err(raised) => raised.into(),
    };
    if value.is_instance_of::<PyBool>() {
        return Err(wrong(PyTypeError::new_err::<Message>));
    }
    match value.extract::<isize>() {
        Ok(number) => usize::try_from(number).map_err(|_| wrong(PyValueError::new_err::<Message>)),
        Err(error) => match failure(value.py(), error)? {
            error if error.is_instance_of::<PyTypeError>(value.py()) => Err(wrong(PyTypeError::new_err::<Message>)),
            _ if value.lt(0)? => Err(wrong(PyValueError::new_err::<Message>)),
            _ => Ok(usize::MAX),
        },
    }
}

/// The keyword arguments.
struct Arguments<'a, 'py>(Option<&'a Bound<'py, PyDict>>);

impl<'py> Arguments<'_, 'py> {
    fn get(&self, option: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.map_or(Ok(None), |given| given.get_item(text(given.py(), option)?))
    }

    /// As `get`, where None means that the option is not given.
    fn given(&self, option: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.get(option)?.filter(|value| !value.is_none()))
    }

    fn only_known(&self) -> PyResult<()> {
        for (name, _) in self.0.iter().flat_map(|given| given.iter()) {
            let name = name.cast::<PyString>()?.to_string_lossy();
            if name != "objects" && !NAMES.contains(&name.as_ref()) {
                let known = NAMES.join(", ");
                let problem = format!("Pool() got an unexpected keyword argument '{name}'");
                return Err(PyTypeError::new_err(Message::of(format!("{problem}; the options are {known}"))));
            }
        }
        Ok(())
    }

    fn needs(&self, option: &str, other: &str) -> PyResult<()> {
        if let Some(value) = self.given(option)?
            && self.given(other)?.is_none()
        {
            return Err(PyValueError::new_err(Message::of(format!(
                "{option}={} means nothing without {other}",
                value.repr()?
            ))));
        }
        Ok(())
    }

    fn seconds(&self, option: &str, default: Option<f64>) -> PyResult<Option<f64>> {
        self.get(option)?.map_or(Ok(default), |value| Timeout::named(option, &value).map(|timeout| timeout.0))
    }

    fn nanos(&self, option: &str, default: Option<f64>) -> PyResult<Option<Nanos>> {
        self.seconds(option, default).map(to_nanos)
    }

    /// As `nanos`, but not 0: elsewhere that may mean "never", and here it would be "always".
    fn some_time(&self, option: &str, default: Option<f64>) -> PyResult<Option<Nanos>> {
        match self.nanos(option, default)? {
            Some(0) => Err(PyValueError::new_err(Message::of(format!("{option} must be seconds > 0 or None, not 0")))),
            time => Ok(time),
        }
    }

    /// Not None, which could mean "always" or "never".
    fn check_after(&self) -> PyResult<Nanos> {
        if self.get("check_after")?.is_some_and(|value| value.is_none()) {
            return Err(PyTypeError::new_err(Message::of(
                "check_after must be seconds, not None; 0 is always, math.inf is never",
            )));
        }
        Ok(self.nanos("check_after", Some(1.0))?.unwrap_or(Nanos::MAX))
    }

    fn count(&self, option: &str, default: usize) -> PyResult<usize> {
        self.given(option)?.map_or(Ok(default), |value| count(option, &value))
    }

    fn fraction(&self, option: &str, default: f64) -> PyResult<f64> {
        let Some(value) = self.get(option)? else { return Ok(default) };
        let wrong = format!("{option} must be a number from 0 to 1, not {}", value.repr()?);
        match value.extract::<f64>() {
            Ok(fraction) if (0.0..=1.0).contains(&fraction) => Ok(fraction),
            Ok(_) => Err(PyValueError::new_err(Message::of(wrong))),
            Err(_) => Err(PyTypeError::new_err(Message::of(wrong))),
        }
    }

    fn flag(&self, option: &str) -> PyResult<bool> {
        let Some(value) = self.get(option)? else { return Ok(false) };
        match value.extract() {
            Ok(flag) => Ok(flag),
            Err(_) => {
                Err(PyTypeError::new_err(Message::of(format!("{option} must be True or False, not {}", value.repr()?))))
            }
        }
    }

    fn hook(&self, option: &str) -> PyResult<Option<Py<PyAny>>> {
        match self.given(option)? {
            Some(value) if !value.is_callable() => {
                Err(PyTypeError::new_err(Message::of(format!("{option} must be callable, not {}", value.repr()?))))
            }
            value => Ok(value.map(Bound::unbind)),
        }
    }

    fn name(&self) -> PyResult<Option<String>> {
        let Some(value) = self.given("name")? else { return Ok(None) };
        match value.cast::<PyString>() {
            Ok(name) => match name.to_str() {
                Ok(name) => Ok(Some(name.to_owned())),
                Err(_) => {
                    Err(PyValueError::new_err(Message::of(format!("name must be valid text, not {}", value.repr()?))))
                }
            },
            Err(_) => {
                Err(PyTypeError::new_err(Message::of(format!("name must be a str or None, not {}", value.repr()?))))
            }
        }
    }

    fn clock(&self) -> PyResult<Option<Py<Clock>>> {
        let Some(value) = self.given("clock")? else { return Ok(None) };
        match value.cast::<Clock>() {
            Ok(clock) => Ok(Some(clock.clone().unbind())),
            Err(_) => {
                let shown = value.repr()?;
                Err(PyTypeError::new_err(Message::of(format!(
                    "clock must be an opool.testing.Clock or None, not {shown}"
                ))))
            }
        }
    }

    fn choice<T: Copy, const N: usize>(
        &self,
        option: &str,
        choices: [(&'static str, T); N],
    ) -> PyResult<Option<(&'static str, T)>> {
        let Some(value) = self.get(option)? else { return Ok(None) };
        let text = value.cast::<PyString>();
        let given = text.as_ref().ok().and_then(|text| text.to_str().ok());
        if let Some(&choice) = choices.iter().find(|(name, _)| given == Some(name)) {
            return Ok(Some(choice));
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
        let message = format!("{option} must be {}, not {}", names.join(" or "), value.repr()?);
        Err(if text.is_ok() {
            PyValueError::new_err(Message::of(message))
        } else {
            PyTypeError::new_err(Message::of(message))
        })
    }
}
