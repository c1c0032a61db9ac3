"""The card on a resident's phone: one-time links, the phone's own key, and the page that shows a live code."""
