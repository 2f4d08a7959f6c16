"""How a handler is called: at once, or by a task whose steps are done in place."""
