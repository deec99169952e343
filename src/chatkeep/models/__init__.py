"""Who answers: the hole (`port`) and one module for each kind of model that fills it."""
