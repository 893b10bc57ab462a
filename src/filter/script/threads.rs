//! A VM for each thread and script: nothing is shared, so no request waits for another, and no lock is taken.
//!
//! A VM is made when a thread first needs it. Those of scripts that are no more are let go of when the next one is made.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::failure::{Cause, Failure};
use super::source::Source;
use super::vm::Vm;

struct Made {
    of: Weak<Source>,
    vm: Rc<Vm>,
}

thread_local! {
    static VMS: RefCell<Vec<Made>> = const { RefCell::new(Vec::new()) };
}

/// This thread's VM for a script.
///
/// # Errors
/// That the script, which could be loaded, cannot be loaded any more.
pub(super) fn vm(source: &Arc<Source>) -> Result<Rc<Vm>, Failure> {
    if let Some(vm) = known(source)? {
        return Ok(vm);
    }
    let vm = Rc::new(Vm::new(source)?);
    let made = Made { of: Arc::downgrade(source), vm: Rc::clone(&vm) };
    with(|vms| {
        vms.retain(|made| made.of.strong_count() > 0 && !is_of(made, source));
        vms.push(made);
    })?;
    Ok(vm)
}

/// Let go of this thread's VM for a script, with whatever it has in memory.
pub(super) fn forget(source: &Arc<Source>) {
    // A thread that ends has let go of all.
    let _ = with(|vms| vms.retain(|made| !is_of(made, source)));
}

fn known(source: &Arc<Source>) -> Result<Option<Rc<Vm>>, Failure> {
    with(|vms| {
        let found = vms.iter().find(|made| is_of(made, source) && made.vm.is_usable());
        found.map(|made| Rc::clone(&made.vm))
    })
}

fn is_of(made: &Made, source: &Arc<Source>) -> bool {
    std::ptr::eq(made.of.as_ptr(), Arc::as_ptr(source))
}

fn with<T>(what: impl FnOnce(&mut Vec<Made>) -> T) -> Result<T, Failure> {
    let ending = |_| Failure { cause: Cause::Error, message: "the thread is ending".to_owned() };
    VMS.try_with(|vms| what(&mut vms.borrow_mut())).map_err(ending)
}
