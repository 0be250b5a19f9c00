from opool._opool import is_palindrome
class Solution:
    is_palindrom = staticmethod(is_palindrome)
