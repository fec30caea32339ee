"""The API of Millrace itself, `/api/millrace/v1`: a route for each operation of `control/operations`."""
