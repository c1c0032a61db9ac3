"""Money of budgets: decided here and nowhere else, under the budget's lock, in double entry."""
