"""Contract suites: a connector's tests are a fixture and one class that inherits the suite of its kind."""
