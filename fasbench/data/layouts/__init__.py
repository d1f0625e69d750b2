"""How the files of the licensed data sets lie on disk: one module a data set, one class a variant people have."""
